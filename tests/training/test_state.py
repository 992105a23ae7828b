import pickle
import random

import numpy as np
import pytest
import torch

from comp.errors import RunError
from comp.training.state import load_state, random_states, restore_random_states, save_state
from tests.training.conftest import Hostile


def drawn():
    return random.random(), np.random.random(), torch.rand(2).tolist(), np.random.standard_normal()


def test_what_is_drawn_after_states_are_given_back_from_a_file_is_what_was_drawn_after_they_were_taken(tmp_path):
    np.random.standard_normal()  # half of a pair is kept for the next
    save_state({"random": random_states()}, tmp_path / "last.pt")
    first = drawn()
    drawn()
    restore_random_states(load_state(tmp_path / "last.pt")["random"])
    assert drawn() == first


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL, None])
def test_a_state_that_would_run_code_is_refused_and_runs_none(tmp_path, protocol):
    path, trace = tmp_path / "last.pt", tmp_path / "trace"
    state = {"weights": Hostile(trace)}
    torch.save(state, path) if protocol is None else path.write_bytes(pickle.dumps(state, protocol))
    with pytest.raises(RunError, match=r"last\.pt is no state that a training can resume from"):
        load_state(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Hostile(trace)))
    assert trace.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "zeros"])
def test_a_damaged_state_is_one_sentence(tmp_path, damage):
    path = tmp_path / "last.pt"
    save_state({"weights": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[:-100], "text": b"state", "zeros": bytes(len(whole))}[damage])
    with pytest.raises(
        RunError, match=r"last\.pt is no state .*; remove the file, and the run starts from its beginning"
    ):
        load_state(path)
