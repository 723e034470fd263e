"""The workshop kit: reset an exercise, hand in answers, collect those of a class, and check them again."""
