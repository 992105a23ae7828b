"""Write the notebooks to fork for Kaggle and Colab: the cells of docs/from-python.md, after cells that set up comp.

python notebooks/make.py
"""

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "from-python.md"
SECRETS = {
    "kaggle": ("from kaggle_secrets import UserSecretsClient", "UserSecretsClient().get_secret"),
    "colab": ("from google.colab import userdata", "userdata.get"),
}
INTRODUCTION = {
    "kaggle": "Fork this notebook, turn on internet and a GPU in its settings, and run it from the top.",
    "colab": "Save a copy in Drive, choose a GPU runtime, and run it from the top.",
}
SETUP = """REPOSITORY = "https://github.com/YOUR-NAME/comp.git"  # your fork
!git clone --quiet --depth 1 {REPOSITORY} comp
%cd comp
%pip install --quiet --editable ."""
TOKEN = """# Only for a competition at Kaggle, not for the digits below. Store the token as the secret KAGGLE_API_TOKEN.
# import os
# {imported}
# os.environ["KAGGLE_API_TOKEN"] = {get}("KAGGLE_API_TOKEN")"""


def notebook(where: str) -> str:
    """The notebook for ``kaggle`` or ``colab``, as the text of its file."""
    imported, get = SECRETS[where]
    cells = [
        new_markdown_cell(f"# comp, step by step\n\n{INTRODUCTION[where]}"),
        new_code_cell(SETUP),
        new_code_cell(TOKEN.format(imported=imported, get=get)),
    ]
    for heading, code in re.findall(
        r"^(## [^\n]*)$|^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    ):
        if code:
            cells.append(new_code_cell(code.rstrip()))
        else:
            cells.append(new_markdown_cell(heading))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = new_notebook(cells=cells, metadata={**kernel, "language_info": {"name": "python"}})
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    for where in SECRETS:
        (HERE / f"{where}.ipynb").write_text(notebook(where), encoding="utf-8")
