"""`comp new` from the command line: sources of files, and errors."""

import re
import shutil
import tarfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from comp import runner
from comp.console import Console
from comp.declare.competition import load_competition
from comp.kaggle import client
from comp.local_kaggle.server import running
from comp.new import at_kaggle, start
from comp.runs import Workspace
from comp.runs.choices import Choices
from tests.kaggle.test_archives import by_deflate64
from tests.new.templates import coco, kind, lay_out

TINY = ("pretrained=False", "stages.size=32", "stages.cycle_length=1", "stages.views=1")


@pytest.fixture
def new(comp, tmp_path):
    """`comp new`, into a temporary folder."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    return lambda *arguments: comp("--competitions", plugins, "new", *arguments)


@pytest.fixture
def served(lay_out, tmp_path, monkeypatch):
    """Serve a stand-in as long as the test lasts."""
    with ExitStack() as stack:

        def serve(*slug):
            folder = lay_out(*slug)
            url = stack.enter_context(running(folder.parent, {}, tmp_path / "state"))
            monkeypatch.setenv("COMP_KAGGLE_URL", url)
            return folder

        yield serve


def declared(ended):
    return load_competition(Path(ended.last_line))


def test_a_folder_of_one_s_own_is_run_where_it_lies(new, lay_out, workspace):
    data = lay_out()
    before = sorted(data.rglob("*"))
    ended = new("mine", "--data", data)
    assert not ended.status, ended.err
    assert "40 labelled images of 5 classes, 4 to predict" in ended.out
    run = runner.run(declared(ended), Choices("quick", "test_resnet", TINY), workspace, Console())
    assert run.submission.is_file()
    assert sorted(data.rglob("*")) == before
    assert not [path for path in workspace.data("mine").rglob("*.png") if not path.parent.is_symlink()]


def packed_as(kind, folder):
    """Put a folder into an archive that can't be listed remotely; return the name in the console's line."""
    packed = folder.parent / "train.zip"
    if kind == "tar":
        with tarfile.open(packed.with_name("train.tar.gz"), "w:gz") as archive:
            archive.add(folder, "train")
        return "train.tar.gz"
    if kind == "parts":
        whole = Path(shutil.make_archive(str(packed.with_suffix("")), "zip", folder.parent, "train")).read_bytes()
        packed.unlink()
        for number, part in enumerate((whole[:2000], whole[2000:]), start=1):
            packed.with_name(f"train.zip.{number:03}").write_bytes(part)
        return "train.zip.001"
    image = min(folder.iterdir())
    packed.write_bytes(by_deflate64(f"train/{image.name}", image.read_bytes()))
    with zipfile.ZipFile(packed, "a") as archive:
        for other in sorted(folder.iterdir())[1:]:
            archive.write(other, f"train/{other.name}")
    return f"train/{image.name} in train.zip"


@pytest.mark.parametrize("kind", ["tar", "parts", "deflate64"])
def test_images_in_an_archive_that_can_t_be_looked_into_are_downloaded(new, served, workspace, kind):
    made = served("dog-breed-identification")
    named = packed_as(kind, made / "train")
    shutil.rmtree(made / "train")
    ended = new("mine", "--kaggle", made.name)
    assert not ended.status, ended.err
    assert f"{named} can't be looked into remotely" in ended.out
    assert len(declared(ended).labels.read(workspace.data("mine"))) == 24


def test_archives_that_hold_folders_of_one_name_are_listed_as_they_are_unpacked(new, comp, served, tmp_path, workspace):
    made = served()
    for part in ("train", "test"):
        (made / f"{part}_images").rename(made / "images")
        shutil.make_archive(str(made / part), "zip", made, "images")
        shutil.rmtree(made / "images")
    ended = new("mine", "--kaggle", made.name)
    assert "40 labelled images of 5 classes, 4 to predict" in ended.out
    assert not comp("--competitions", tmp_path / "plugins", "download", "mine").status
    assert len(declared(ended).labels.read(workspace.data("mine"))) == 40


@pytest.fixture
def apart(served):
    """Planet as at Kaggle: the tables are in the competition, the images in a user's data set."""
    made = served("planet-understanding-the-amazon-from-space")
    images = made.parent / "planets-dataset" / "planet" / "planet"
    images.mkdir(parents=True)
    for name in ("train-jpg", "test-jpg"):
        shutil.move(made / name, images / name)
    return made


def test_images_that_the_competition_lacks_are_found_in_a_data_set(new, apart):
    ended = new("mine", "--kaggle", apart.name, "--dataset", "someone/planets-dataset")
    assert not ended.status, ended.err
    assert "labels, images and sample submission fit together: 40 labelled images" in ended.out
    assert [dataset.handle for dataset in declared(ended).extra_data] == ["someone/planets-dataset"]


def test_a_competition_without_images_asks_for_the_data_set_that_has_them(new, apart):
    told = new("mine", "--kaggle", apart.name).sentence
    assert "has no images among its files, which are 3 .csv; name the data set" in told


@pytest.mark.parametrize(("slug", "whole"), [("dog-breed-identification", False), ("plant-pathology-2020-fgvc7", True)])
def test_a_large_folder_s_first_files_are_listed_and_all_only_where_they_are_not_enough(
    new, served, monkeypatch, slug, whole
):
    monkeypatch.setattr(client, "PAGE_SIZE", 3)
    monkeypatch.setattr(at_kaggle, "FILES_OF_A_FOLDER", 3)
    served(slug)
    ended = new("mine", "--kaggle", slug)
    assert declared(ended).labels.folder == ("images" if whole else "train")
    assert ("every file is listed" in ended.out) == whole
    assert ("? files" in ended.out) == ("? check" in ended.out) == (not whole)


def test_the_size_of_images_is_that_of_one_that_can_be_opened(new, served):
    made = served("dog-breed-identification")
    (made / "a").mkdir()
    (made / "a" / "0.dcm").write_bytes(b"")
    assert "for images of 32 x 32 pixels" in new("mine", "--kaggle", made.name).out


def test_no_class_folder_is_left_out_as_it_was_not_listed(new, served, monkeypatch):
    made = served("dog-breed-identification")
    for row in (made / "labels.csv").read_text().split()[1:]:
        image, breed = row.split(",")
        (made / "train" / breed).mkdir(exist_ok=True)
        (made / "train" / f"{image}.jpg").rename(made / "train" / breed / f"{image}.jpg")
    (made / "labels.csv").unlink()
    monkeypatch.setattr(at_kaggle, "MOST_FOLDERS", 8)
    ended = new("mine", "--kaggle", made.name)
    assert not ended.status, ended.err
    assert "24 labelled images of 12 classes, 4 to predict" in ended.out


def test_an_address_says_the_slug_and_the_competition_s_title_is_kaggle_s(new, served):
    served()
    ended = new("mine", "--kaggle", "https://www.kaggle.com/competitions/aptos2019-blindness-detection/data")
    assert declared(ended).kaggle == "aptos2019-blindness-detection"
    text = Path(ended.last_line).read_text()
    assert text.startswith('"""Aptos2019 Blindness Detection: ')
    readme = (Path(ended.last_line).parent / "README.md").read_text()
    assert "https://www.kaggle.com/c/aptos2019-blindness-detection" in readme
    for line in ended.out.splitlines():
        if line.startswith("? ") and "check" not in line:
            assert f"- {line[2:].split()[0]}: " in readme


def test_folders_of_images_that_are_of_no_use_are_counted(new, lay_out):
    data = lay_out()
    (data / "additional").mkdir()
    for image in sorted((data / "train_images").iterdir())[:5]:
        shutil.copy(image, data / "additional")
    assert "5 images are neither trained on nor predicted, in additional" in new("mine", "--data", data).out


def test_the_groups_of_a_json_are_checked_though_its_images_are_not_here(new, served):
    place = served().with_name("places")
    lay_out(kind(**{"train.json": coco(location="l{pair}")}), place)
    assert "images and sample submission fit together: 12 labelled images" in new("mine", "--kaggle", "places").out


@pytest.mark.parametrize(
    ("files", "fits"),
    [
        ("{part}/{n}.jpg", "12 labelled images of 3 classes, 4 to predict"),
        ("train/{n}.jpg", "9 labelled images of 3 classes, 3 to predict"),
    ],
)
def test_a_sample_submission_that_will_be_written_is_checked_though_the_images_are_not_here(new, served, files, fits):
    place = served().with_name("unasked")
    lay_out(kind(files, sample=None, train="id,label: {n},{pet}"), place)
    assert fits in new("mine", "--kaggle", "unasked").out


def test_what_is_wrong_with_images_that_are_rows_of_a_table_is_said_of_kaggle_s_files_as_well(new, apart):
    train, sample = apart / "train.csv", apart / "sample_submission_v2.csv"
    train.write_text(f"x,y,Image\n1,2,{' 7' * 16}\n3,4,{' 8' * 16}\n")
    (apart / "test.csv").write_text(f"ImageId,Image\n1,{' 7' * 16}\n2,{' 8' * 16}\n")
    sample.write_text("ImageId,Location\n1,0\n2,0\n")
    assert "train.csv has the pixels of an image in a row" in new("rows", "--kaggle", apart.name).sentence


def test_what_does_not_fit_together_is_said_and_the_declaration_is_there_to_be_mended(new, lay_out):
    data = lay_out()
    for image in sorted((data / "train_images").iterdir())[:5]:
        image.unlink()
    ended = new("mine", "--data", data)
    assert not ended.status
    assert re.search(r"^! check +5 of 40 rows of train.csv have no image", ended.out, re.MULTILINE)
    assert re.search(r"^next: mend what check found, then comp --competitions \S+ run mine$", ended.out, re.MULTILINE)
    readme = (Path(ended.last_line).parent / "README.md").read_text()
    assert "kaggle.com" not in readme
    assert "as `kaggle` into `competition.py`" in readme
    assert 'kaggle="mine",  # a placeholder' in Path(ended.last_line).read_text()
    assert declared(ended).labels.csv == "train.csv"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mine"], "give --kaggle SLUG or --data DIR"),
        (["Mine", "--data", "."], "small letters"),
        (["test", "--data", "."], "`make test` does something else"),
        (["mine", "--data", "nowhere"], "There is no nowhere"),
        (["mine", "--data", ".", "--dataset", "someone/images"], "leave one of them out"),
        (["mine", "--kaggle", "aptos2019-blindness-detection", "--dataset", "images"], "like 'owner/name'"),
        (["mine", "--kaggle", "no-such-competition"], "no competition 'no-such-competition'"),
    ],
)
def test_what_can_t_be_is_one_sentence_and_leaves_nothing(new, served, arguments, sentence, tmp_path, workspace):
    served()
    assert sentence in new(*arguments).sentence
    assert not list((tmp_path / "plugins").iterdir())
    assert not workspace.folder.exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data", None, "is empty; name the folder"),
        ("data/notes.txt", b"", "no images among the competition's files, which are 1 .txt"),
        ("whole.zip", b"some notes", "neither a folder nor an archive"),
        ("whole.zip", b"PK\x03\x04 cut short", "damaged or cut short; get another copy"),
    ],
)
def test_data_that_tell_nothing_are_named_and_leave_nothing(new, tmp_path, workspace, name, content, says):
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert says in new("mine", "--data", tmp_path / name.split("/")[0]).sentence
    assert not workspace.data("mine").exists()
    assert (tmp_path / "data").is_dir()


@pytest.mark.parametrize("packed", [False, True])
def test_data_of_a_competition_that_is_declared_are_linked_in_another_home(
    new, comp, lay_out, tmp_path, monkeypatch, packed
):
    data = lay_out()
    first = new("mine", "--data", data)
    declaration = Path(first.last_line)
    text = declaration.read_text() + "# mine\n"
    declaration.write_text(text)
    elsewhere = Workspace(tmp_path / "elsewhere")
    monkeypatch.setenv("COMP_HOME", str(elsewhere.folder))
    plugins = ("--competitions", tmp_path / "plugins")
    assert "comp new mine --data DIR" in comp(*plugins, "check", "mine").err
    assert "`comp new mine --data DIR` links them instead" in comp(*plugins, "download", "mine").err
    (elsewhere.data("mine") / "train.csv").touch()
    assert "`comp train mine`" in comp(*plugins, "download", "mine").err
    (elsewhere.data("mine") / "train.csv").unlink()
    # The rest of a failed download doesn't count as data.
    assert "The data of mine are not here" in comp(*plugins, "check", "mine").err
    other = lay_out("cassava-leaf-disease-classification")
    told = new("mine", "--data", other).err
    assert told.startswith(f"Error: {other} doesn't fit {declaration}, which says")
    assert str(elsewhere.folder) not in told
    assert not elsewhere.data("mine").exists()
    if packed:
        shutil.make_archive(data / "train_images", "zip", data, "train_images")
        shutil.rmtree(data / "train_images")
    second = new("mine", "--data", data)
    assert not second.status, second.err
    assert second.last_line == str(declaration)
    assert f"{declaration} stays as it is" in second.out
    assert "40 labelled images of 5 classes, 4 to predict" in second.out
    assert declaration.read_text() == text
    assert not comp(*plugins, "check", "mine").status
    assert not comp(*plugins, "download", "mine").status
    # A file that was added since must not be left out silently.
    shutil.rmtree(declaration.parent)
    (data / "added.csv").write_text("id\n")
    assert "holds other data; remove it" in new("mine", "--data", data).sentence


def test_a_second_time_nothing_is_written_over_and_the_links_are_taken_as_they_are(
    new, lay_out, workspace, monkeypatch
):
    data = lay_out()
    monkeypatch.setenv("HOME", str(data.parent))
    min((data / "test_images").iterdir()).write_bytes(b"")
    call = ("my-own", "--data", f"~/{data.name}")
    declaration = Path((first := new(*call)).last_line)
    # A broken image doesn't hide the size of the others.
    assert "unknown size" not in first.out
    text, links = declaration.read_text(), sorted(workspace.data("my-own").iterdir())
    assert "is there already" in new(*call).err
    assert declaration.read_text() == text
    shutil.rmtree(declaration.parent)
    assert declared(new(*call)).name == "my-own"
    assert sorted(workspace.data("my-own").iterdir()) == links


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_lost_or_cut_of_data_on_this_machine_is_noticed_by_the_next_command(
    new, comp, lay_out, workspace, tmp_path, packed
):
    data = lay_out()
    new("mine", "--data", shutil.make_archive(tmp_path / "whole", "zip", data) if packed else data)
    at = workspace.data("mine") if packed else data
    check = ("--competitions", tmp_path / "plugins", "check", "mine")
    images = sorted((at / "train_images").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:100])
    said = f"1 file has another size than `comp new` found in {tmp_path}"
    assert said in comp(*check).out
    assert said not in comp(*check).out
    for lost, named in ([images[1], "1 of 47"], [at / "test_images", "5 of 47"]):
        lost.rename(tmp_path / lost.name)
        for command in ("check", "download"):
            told = comp(*check[:2], command, "mine").sentence
            assert f"{named} files in {workspace.data('mine')}" in told
            assert f"`comp new mine --data {tmp_path}" in told
    for lost in (images[1], at / "test_images"):
        (tmp_path / lost.name).rename(lost)
    assert comp(*check).status == 0


def test_other_data_under_the_name_are_left_alone_and_the_remedy_works(new, lay_out, workspace):
    first = new("my-own", "--data", lay_out())
    shutil.rmtree(Path(first.last_line).parent)
    other = lay_out("cassava-leaf-disease-classification")
    told = new("my-own", "--data", other).err
    assert f"{workspace.data('my-own')} holds other data; remove it or move it away" in told
    assert (workspace.data("my-own") / "train_images").is_dir()
    shutil.rmtree(workspace.data("my-own"))
    assert not new("my-own", "--data", other).status


def test_no_competition_can_be_called_as_a_target_of_the_makefile():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert targets == start.TAKEN
