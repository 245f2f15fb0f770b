"""The paper's printed numbers are copied without a slip, and stand apart under what makes them incomparable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from landmark_diffusion.studies.fewshot.paper_figures import METHODS, TABLES, paper_section, zero_spreads

PAPER = Path(__file__).resolve().parents[4] / "shared" / "papers" / "ddpm_pretraining_few_shot.md"
NUMBER = re.compile(r"([\d.]+) ± ([\d.]+)")


def _printed_tables() -> dict[int, list[tuple[int, str, list[tuple[float, float]]]]]:
    """Table number -> (n, method, pairs of mean and ±) for each printed row with a ±."""
    tables: dict[int, list[tuple[int, str, list[tuple[float, float]]]]] = {}
    number, n = 0, 0
    for line in PAPER.read_text(encoding="utf-8").splitlines():
        if caption := re.match(r"Table (\d+):", line):
            number = int(caption[1])
        cells = re.sub("</?b>", "", line).split("\t")
        pairs = [(float(mean), float(sd)) for mean, sd in NUMBER.findall(line.replace("<b>", "").replace("</b>", ""))]
        if number and pairs and len(cells) > 4:
            n = int(cells[0]) if cells[0].strip() else n
            tables.setdefault(number, []).append((n, cells[1].strip(), pairs))
    return tables


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
def test_every_number_is_the_printed_one() -> None:
    printed = _printed_tables()
    for dataset, number in (("chest", 1), ("isbi2015", 2), ("hand", 3)):
        ours = [(row.n, row.method, [row.mre, *row.sdr.values()]) for row in TABLES[dataset][0].rows()]
        assert TABLES[dataset][0].number == number
        assert ours == printed[number], dataset
    for dataset, part in (("chest", slice(0, 4)), ("isbi2015", slice(4, 9))):
        ours = [(row.n, [row.mre, *row.sdr.values()]) for row in TABLES[dataset][1].rows()]
        assert ours == [(n, pairs[part]) for n, _, pairs in printed[5]], dataset


@pytest.mark.parametrize(
    ("dataset", "radii"), [("chest", [3, 6, 9]), ("isbi2015", [2, 2.5, 3, 4]), ("hand", [2, 4, 10])]
)
def test_tables_are_complete(dataset: str, radii: list[float]) -> None:
    for table in TABLES[dataset]:
        rows = table.rows()
        methods = {row.method for row in rows}
        assert len(methods) == (6 if table.pretrained_on is None else 1)
        assert {(row.n, row.method) for row in rows} == {(n, m) for n in (1, 5, 10, 25, 50) for m in methods}
        assert all(list(row.sdr) == radii for row in rows)
        rates = [[mean for mean, _ in row.sdr.values()] for row in rows]
        assert rates == [sorted(each) for each in rates]  # a greater radius never holds fewer points


def test_hand_pre_training_beats_ceph_pre_training_at_every_n_as_the_warning_says() -> None:
    own, hand = TABLES["isbi2015"]
    own_rows = {row.n: row for row in own.rows() if row.method == "Our method"}
    assert all(row.mre[0] < own_rows[row.n].mre[0] for row in hand.rows())
    assert all(row.sdr[radius][0] > own_rows[row.n].sdr[radius][0] for row in hand.rows() for radius in hand.radii)
    assert "beats table 2 at every n" in paper_section("isbi2015", "150", "3 draws", {})


def test_chest_rates_are_multiples_of_41_images_times_6_points_as_the_warning_says() -> None:
    for table in TABLES["chest"]:
        for row in table.rows():
            for mean, sd in row.sdr.values():
                if sd == 0:
                    hits = round(mean * 2.46)
                    assert round(100 * hits / 246, 2) == mean, (row, mean)
    assert "41 test images" in paper_section("chest", "41", "3 draws", {})


@pytest.mark.parametrize("dataset", list(TABLES))
def test_most_printed_spreads_are_zero_as_the_section_says(dataset: str) -> None:
    zero, total = zero_spreads(dataset)
    own = [row for table in TABLES[dataset] for row in table.rows() if row.method in METHODS]
    assert total == sum(1 + len(row.sdr) for row in own)
    assert zero > total / 2
    assert f"{zero} of {total} are 0.00" in paper_section(dataset, "10", "3 draws", {})


def test_section_sets_our_facts_beside_theirs() -> None:
    text = paper_section("hand", "12", "2 draws", {"split": "50/10/12", "network": "1.8 M at 96x128"})
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:4]] for line in text.splitlines()
            if line.startswith("|")}  # fmt: skip
    assert rows["measured images"] == ["12", "300 as printed"]
    assert rows["split (train / validation / test)"] == ["50/10/12", "550 / 59 / 300 as printed, of 909"]
    assert rows["network"][0] == "1.8 M at 96x128"
    assert rows["protocol"][0] == "see the config"
    assert rows["runs"][0] == "2 draws"
    assert "| 28.75 ± 0.00 | 27.87 ± 0.00 |" in text


def test_other_datasets_have_no_such_section() -> None:
    assert paper_section("phantom", "12", "2 draws", {}) == ""
