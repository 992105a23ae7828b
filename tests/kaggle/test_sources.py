from comp.kaggle.client import connect
from comp.kaggle.sources import DeclaredGraders
from comp.kaggle.submitting import submit, wait_for_score
from comp.local_kaggle.server import running


def test_what_was_submitted_before_its_competition_was_declared_is_graded_afterwards(shades, tmp_path):
    source = shades.declaration.read_text()
    shades.declaration.unlink()
    csv = tmp_path / "submission.csv"
    csv.write_text("id,colour\n" + "".join(f"q{number:02},red\n" for number in range(12)))
    with running(shades.served, DeclaredGraders([shades.plugins]), tmp_path / "state") as url:
        kaggle = connect(url)
        ref = submit(kaggle, "shades", csv, "")
        assert wait_for_score(kaggle, "shades", ref).public_score is None
        shades.declaration.write_text("this is being wr")
        assert wait_for_score(kaggle, "shades", ref).public_score is None
        shades.declaration.write_text(source)
        assert 0 < wait_for_score(kaggle, "shades", ref).public_score < 1
        assert kaggle.competition("shades").metric == "accuracy"
