"""The list of PACS: kept in a file without passwords, checked before it is believed."""

from __future__ import annotations

import os

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from cmfnet_napari.core.dicom.pacs.nodes import (
    find_node,
    load_nodes,
    make_node,
    nodes_file,
    password_of,
    remove_node,
    save_node,
)
from cmfnet_napari.core.errors import UserError

WEB = {"name": "Clinic", "url": "https://pacs.example/dicom-web", "user": "eva"}


def test_kept_and_forgotten(passwords) -> None:
    assert load_nodes() == {}
    node = make_node(**WEB)
    save_node(node, "secret")
    save_node(make_node(name="other", host="10.0.0.1", port=4242, title="PACS"))
    assert list(load_nodes()) == ["Clinic", "other"]
    assert find_node("Clinic") == node
    assert password_of(node) == "secret"
    assert "secret" not in nodes_file().read_text()
    if os.name == "posix":  # who may let files in is nobody else's to know
        assert nodes_file().stat().st_mode & 0o077 == 0
    remove_node("Clinic")
    assert list(load_nodes()) == ["other"]
    assert passwords.kept == {}
    remove_node("other")  # which had no password


def test_an_unknown_name_lists_the_known(passwords) -> None:
    save_node(make_node(**WEB))
    with pytest.raises(UserError, match=r"No PACS is called Klinik here. Known: Clinic"):
        find_node("Klinik")


def test_a_missing_password_is_asked_for(passwords, monkeypatch) -> None:
    node = make_node(**WEB)
    save_node(node)
    with pytest.raises(UserError, match="The password of eva for Clinic is not in"):
        password_of(node)
    monkeypatch.setenv("CMFNET_PACS_PASSWORD", "from outside")
    assert password_of(node) == "from outside"


def test_a_computer_without_a_keyring(passwords) -> None:
    keyring.set_keyring(NoKeyring())
    with pytest.raises(UserError, match="has no keyring"):
        save_node(make_node(**WEB), "secret")
    assert load_nodes() == {}
    with pytest.raises(UserError, match="is not in this computer's keyring"):
        password_of(make_node(**WEB))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "a"}, r"needs a DICOMweb address .url., or computer"),
        ({"name": "a", "url": "pacs.example"}, "must begin with https"),
        ({"name": "a", "url": "https://eva:secret@pacs.example"}, "may hold no password"),
        ({**WEB, "url": "http://pacs.example/"}, "for all to read"),
        ({"name": "a", "host": "h", "title": "T", "user": "eva"}, "for all to read"),
        ({"name": "a", "host": "h", "title": "T", "port": 0}, "port: Input should be"),
        ({"name": "a", "host": "h", "title": "A TITLE FAR TOO LONG"}, "title: String should"),
    ],
)
def test_what_makes_no_sense(values, words) -> None:
    with pytest.raises(UserError, match=words):
        make_node(**values)


def test_a_damaged_list(passwords) -> None:
    nodes_file().parent.mkdir()
    nodes_file().write_text("{")
    with pytest.raises(UserError, match=r"pacs.json in .* is missing or damaged"):
        load_nodes()
