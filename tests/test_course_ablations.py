"""The ablation runs as notebooks show them: differences seed by seed, and the runs that are shipped."""

import importlib.util
import statistics
from pathlib import Path

import pytest

from birefnet_lite.course import ablations

ROOT = Path(__file__).parent.parent


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Results whose seeds differ more than their variants."""
    rows = ["variant,seed,steps,side,batch,s_measure,weighted_f,mae"]
    for seed, level in enumerate((0.5, 0.7, 0.9)):
        rows.append(f"full network,{seed},10,64,4,{level},{level - 0.1},{1 - level}")
        rows.append(f"one scale,{seed},10,64,4,{level - 0.02 - 0.01 * seed},{level - 0.1},{1 - level}")
    rows.append("no context,1,10,64,4,0.6,0.5,0.4")
    path = tmp_path / "ablations.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setattr(ablations, "RESULTS", path)


def test_changes_are_taken_seed_by_seed(runs):
    full, one, context = ablations.ablation_changes("s_measure")
    assert (full.difference, full.spread) == (0, 0)
    assert one.difference == pytest.approx(-0.03)
    assert one.spread == pytest.approx(statistics.stdev([-0.02, -0.03, -0.04]))  # not the spread of the levels
    assert (one.seeds, context.seeds, context.spread) == (3, 1, 0)
    assert context.difference == pytest.approx(-0.1)


def test_the_table_and_the_words_of_the_plot_hold_the_numbers(runs):
    lines = ablations.ablation_table(["full network", "one scale"]).splitlines()
    assert lines[2] == "| full network | 3 | 0.700 | 0.600 | 0.300 |"
    assert lines[3].startswith("| one scale | 3 | 0.670 (-0.030 ± 0.010) | 0.600 (+0.000 ± 0.000) |")
    picture = ablations.ablation_plot(variants=["one scale", "no context"])
    assert "one scale -0.030 ± 0.010; no context -0.100" in picture.alt


def test_what_was_not_measured_is_said(runs, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"'f_measure' was not measured; there are s_measure"):
        ablations.ablation_changes("f_measure")
    with pytest.raises(ValueError, match=r"no variant 'no neck'; there are full network, one scale"):
        ablations.ablation_changes("mae", ["no neck"])
    monkeypatch.setattr(ablations, "RESULTS", tmp_path / "nothing.csv")
    with pytest.raises(FileNotFoundError, match=r"python benchmarks/ablations\.py"):
        ablations.ablation_runs()


def test_the_shipped_runs_are_equal_but_for_the_part():
    spec = importlib.util.spec_from_file_location("ablations_benchmark", ROOT / "benchmarks" / "ablations.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    rows = ablations.ablation_runs()
    wanted = {(variant, str(seed)) for variant in benchmark.VARIANTS for seed in range(3)}
    assert {(row["variant"], row["seed"]) for row in rows} == wanted
    assert len({(row["steps"], row["side"], row["batch"], row["torch"], row["machine"]) for row in rows}) == 1
    for metric in ablations.METRICS:
        assert all(0 < float(row[metric]) < 1 for row in rows)
