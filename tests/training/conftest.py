import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Networks this small are slower on two threads than on one, and far slower where others use the cores too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
