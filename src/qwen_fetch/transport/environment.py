"""What the environment says of the way to the world, read in one place: proxies and certificates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import getproxies, getproxies_environment

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import set_variable, unset_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Environment", "environment", "unusable"]

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # of other programs; people set them for this purpose as well
_SYSTEM = "the system's settings"


@dataclass(frozen=True, slots=True)
class Environment:
    """What is set; empty where nothing is.

    Attributes:
        proxies: By scheme (``http``, ``https``, ``all``): the address as it was given, with what names it.
        no_proxy: The hosts that are reached without one.
        system: Whether the proxies are the operating system's, which has its own word for those hosts.
        ca_file: `SSL_CERT_FILE`: these certificates are trusted, and no others.
        ca_folder: `SSL_CERT_DIR`: as well.
        extra: A file of certificates that are trusted besides the system's, and the variable that names it.
    """

    proxies: dict[str, tuple[str, str]]
    no_proxy: str
    system: bool
    ca_file: str
    ca_folder: str
    extra: tuple[str, str]

    def check(self) -> None:
        """Look at what has to be there.

        Raises:
            Problem: (certificate-file) It is not.
        """
        for variable, place in (("SSL_CERT_FILE", self.ca_file), ("SSL_CERT_DIR", self.ca_folder)):
            there = Path(place).is_file() if variable.endswith("FILE") else Path(place).is_dir()
            if place and not there:
                raise unusable(variable, place, "it is not there")

    def rows(self) -> Iterator[tuple[str, str]]:
        """The same as rows of a table. Logins are taken out where it is printed."""
        said = [f"{address} ({source})" for address, source in self.proxies.values()]
        yield "proxies", ", ".join(dict.fromkeys(said)) or "none"
        if self.no_proxy:
            yield "not through them", self.no_proxy
        trusted = [
            f"{name}={place}" for name, place in (("SSL_CERT_FILE", self.ca_file), ("SSL_CERT_DIR", self.ca_folder))
        ]
        trusted = [text for text in trusted if not text.endswith("=")] or ["the system's"]
        if self.extra[0] and not (self.ca_file or self.ca_folder):
            trusted.append(f"{self.extra[1]}={self.extra[0]}")
        yield "certificates", ", ".join(trusted)


def environment() -> Environment:
    """What is set now. On Windows and macOS the system's proxies count where the environment names none."""
    named, system = getproxies_environment(), False
    if not named:
        named, system = getproxies(), True
    proxies = {
        scheme: (named[scheme], _SYSTEM if system else f"{scheme.upper()}_PROXY")
        for scheme in ("http", "https", "all")
        if named.get(scheme)
    }
    bundles = ((os.environ.get(name, ""), name) for name in _BUNDLES)
    return Environment(
        proxies=proxies,
        no_proxy=named.get("no", ""),
        system=system,
        ca_file=os.environ.get("SSL_CERT_FILE", ""),
        ca_folder=os.environ.get("SSL_CERT_DIR", ""),
        # Other programs set them, installers too, and leave them behind: what is not there any more is nothing.
        extra=next(((place, name) for place, name in bundles if place and Path(place).is_file()), ("", "")),
    )


def unusable(variable: str, place: str, detail: str) -> Problem:
    """What is named cannot be used for certificates."""
    return Problem(
        catalogue.CERTIFICATE_FILE,
        variable=variable,
        path=place,
        detail=detail,
        unset=unset_variable(variable),
        set_ca=set_variable(variable, "/path/to/certificates.pem" if variable.endswith("FILE") else "/path/to/them"),
    )
