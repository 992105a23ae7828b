import weakref

from comp.data.freed import give_back_freed


class Node:
    pass


def test_what_only_refers_to_itself_is_let_go_of():
    node = Node()
    node.self, gone = node, weakref.ref(node)
    del node
    assert gone() is not None
    give_back_freed()
    assert gone() is None
