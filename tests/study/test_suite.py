"""Suites say what the papers say, and a catalogue finds their tables."""

import pandas as pd
import pytest

from vicinal.core import InputError
from vicinal.study.catalogue import Catalogue
from vicinal.study.images import IMAGE_METHODS
from vicinal.study.methods import METHODS
from vicinal.study.suite import list_suites, read_suite


@pytest.mark.parametrize("name", list_suites())
def test_every_suite_can_be_read_and_names_methods_that_there_are(name):
    suite = read_suite(name)
    assert set(suite.methods) <= set(IMAGE_METHODS if suite.kind == "images" else METHODS)
    assert suite.subject is None or suite.subject in suite.methods
    assert {row["dataset"] for row in suite.published} <= set(suite.datasets)
    assert {row["method"] for row in suite.published if "method" in row} <= set(suite.methods)
    assert all(0 <= row["value"] <= 100 for row in suite.published)
    assert len(set(suite.datasets)) == len(suite.datasets)


def test_the_papers_numbers_of_tables():
    assert len(read_suite("genlabel/openml").datasets) == 133
    assert len(read_suite("genlabel/table5").datasets) == 13
    assert read_suite("genlabel/table5").attack == {"name": "boundary", "steps": 25000, "radius": 0.1}
    assert len(read_suite("genlabel/table4").published) == 7 * 8
    assert len(read_suite("genlabel/table7").published) == 6 * 6 * 2
    for suite in map(read_suite, list_suites()):
        # Where a table's percentages add up to a hundred, ours are copied right; three of Table 3's do not, in the paper.
        odd = [r for r in suite.published_counts if abs(r["higher"] + r["on_par"] + r["lower"] - 100) > 0.1]
        assert len(odd) == (3 if suite.name == "genlabel/table3" else 0)


def test_extending_replaces_the_tables_and_keeps_the_rest():
    table5, table7 = read_suite("genlabel/table5"), read_suite("genlabel/table7")
    assert set(table7.datasets) < set(table5.datasets)
    assert table7.attack == table5.attack
    assert table7.published_counts == ()


def test_an_attack_takes_another_budget():
    assert read_suite("genlabel/table5").with_attack_steps(100).attack["steps"] == 100
    with pytest.raises(InputError, match="attacks nothing"):
        read_suite("genlabel/table4").with_attack_steps(100)


def test_a_suite_of_ones_own(tmp_path):
    (tmp_path / "ours.csv").write_text("dataset,method,metric,value\niris,mixup,accuracy,88.0\n")
    (tmp_path / "mine.toml").write_text(
        'title = "Mine"\ndatasets = ["iris"]\nopenml = [61]\nmethods = ["mixup"]\npublished = "ours.csv"\n'
    )
    suite = read_suite(str(tmp_path / "mine.toml"))
    assert suite.datasets == ("iris", "openml:61")
    assert suite.published[0]["value"] == 88.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "is no TOML"),
        ('title = "a"\nmethods = ["mixup"]\n', "must have 'datasets'"),
        ('title = "a"\ndatasets = ["iris"]\nmethods = ["mixup"]\ncolour = 3\n', "entry 'colour'"),
        ('title = "a"\ndatasets = ["iris"]\nmethods = ["mixup"]\npublished = "no.csv"\n', "no file of published"),
        ('extends = "genlabel/table99"\n', "there is no such suite"),
        *(
            (f'extends = "genlabel/table4"\n{entry}\n', message)
            for entry, message in (
                ('datasets = "iris"', "a list of texts in 'datasets', got 'iris'"),
                ('openml = ["61"]', "a list of numbers of OpenML tables in 'openml'"),
                ('trials = "5"', "a whole number from 1 in 'trials'"),
                ("criterion = 95", "a share from 0 to 1 in 'criterion'"),
                ("published = 3", "the name of a file"),
                ('metrics = ["acuracy"]', "has 'acuracy' in 'metrics'; it must be one of .*accuracy"),
                ('metrics = ["robust_accuracy"]', "has 'robust_accuracy' in 'metrics'"),
                ('subject = "genlable"', "has 'genlable' in 'subject'"),
                ('best_of = {name = "best"}', "a name and methods in 'best_of'"),
                ('best_of = {name = "best", methods = ["cutmix"]}', "has 'cutmix' in 'best_of'"),
                (
                    'attack = {name = "pgd", steps = 5, radius = 0.1}',
                    "has 'pgd' in 'attack'; it must be one of boundary",
                ),
                ('attack = {name = "boundary"}', "a name, steps and a radius in 'attack'"),
            )
        ),
    ],
)
def test_a_file_that_is_no_suite(text, message, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_suite(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("table4", "did you mean 'genlabel/table4'"),
        ("genlabel/table44", "did you mean 'genlabel/table4'"),
        ("x.toml", "no suite at"),
    ],
)
def test_a_name_that_is_no_suite(name, message):
    with pytest.raises(InputError, match=message):
        read_suite(name)


def test_a_suite_that_extends_another_inherits_its_published_numbers(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'extends = "genlabel/table4"\ntitle = "Fewer"\nmethods = ["vanilla", "mixup"]\nsubject = "mixup"\n'
    )
    theirs, mine = read_suite("genlabel/table4"), read_suite(str(tmp_path / "mine.toml"))
    assert mine.datasets == theirs.datasets
    assert mine.published == tuple(row for row in theirs.published if row["method"] in ("vanilla", "mixup")) != ()
    (tmp_path / "ours.csv").write_text(f"dataset,method,value\n{mine.datasets[0]},mixup,90\n")
    with (tmp_path / "mine.toml").open("a") as file:
        file.write('published = "ours.csv"\n')
    assert [row["value"] for row in read_suite(str(tmp_path / "mine.toml")).published] == [90.0]


@pytest.fixture
def folder(tmp_path):
    frame = pd.DataFrame({"a": range(8), "target": list("xyxyxyxy")})
    for name in ("one", "two"):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_a_folder_without_an_index_is_a_suite_of_its_files(folder):
    suite = read_suite(str(folder))
    assert suite.datasets == ("one", "two")
    found, missing = Catalogue(folder).find(suite.datasets)
    assert [source.family for source in found] == ["one", "two"]
    assert missing == []


def test_an_index_gives_ids_families_and_doubts(folder):
    (folder / "index.csv").write_text(
        "name,openml_id,also_openml_ids,family,match,target\none,61.0,969 1413,flowers,uncertain,\ntwo,,,,,target\n"
    )
    catalogue = Catalogue(folder)
    found, missing = catalogue.find(["openml:1413", "openml:61", "two", "openml:5", "moon", "iris"])
    assert [source.dataset for source in found] == ["openml:1413", "openml:61", "two", "moon", "iris"]
    assert found[0].path == found[1].path == str(folder / "one.csv")
    assert found[0].family == "flowers"
    assert "uncertain" in found[0].note
    assert (found[2].family, found[2].target, found[2].note) == ("two", "target", None)
    assert [(m.dataset, "not in" in m.why) for m in missing] == [("openml:5", True)]
    assert Catalogue(folder, fetch=True).find(["openml:5"])[0][0].path == "openml:5"


def test_a_folder_that_holds_no_tables(folder, tmp_path):
    with pytest.raises(InputError, match="no folder of tables"):
        Catalogue(folder / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no tables"):
        Catalogue(tmp_path / "empty")
    (folder / "index.csv").write_text("name\nthree\n")
    with pytest.raises(InputError, match="names 'three'"):
        Catalogue(folder)
    for content, message in (
        (b"name,openml_id\none,abc\n", "numbers of OpenML tables"),
        (b"name\n\xff\n", "can't be read"),
    ):
        (folder / "index.csv").write_bytes(content)
        with pytest.raises(InputError, match=message):
            Catalogue(folder)
    (folder / "index.csv").unlink()
    (folder / "one.PARQUET").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds one\..* and one\..*, two tables of one name"):
        Catalogue(folder)
    (folder / "one.PARQUET").unlink()
    (folder / "index.csv").write_text("table\none\n")
    with pytest.raises(InputError, match="must have a column 'name'"):
        Catalogue(folder)
