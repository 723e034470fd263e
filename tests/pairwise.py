"""Combinations of options in which every value of one option meets every value of every other option."""

from itertools import combinations, product


def cover_pairs(options):
    """Few combinations of `options`, the values of each option by its name; each is a dictionary."""
    places = {name: range(len(values)) for name, values in options.items()}
    left = {
        frozenset({(one, x), (other, y)})
        for one, other in combinations(options, 2)
        for x, y in product(places[one], places[other])
    }
    combined = []
    while left:
        chosen = dict(min(left, key=sorted))
        for name in [name for name in options if name not in chosen]:
            new = {x: sum(frozenset({(name, x), other}) in left for other in chosen.items()) for x in places[name]}
            chosen[name] = max(new, key=new.get)
        left -= {frozenset(pair) for pair in combinations(chosen.items(), 2)}
        combined.append({name: options[name][place] for name, place in chosen.items()})
    return combined
