"""Refusals that a person must act on. Each is one plain sentence; the command prints it and ends with its exit code."""


class StartError(Exception):
    """Something on this machine has to be put right before Authpipe can start.

    `str()` of it is one line that says what is wrong and what to do. `code` is stable, for scripts and tests;
    `exit_code` is what the command ends with.
    It never holds a secret's value.
    """

    code = "start_error"
    exit_code = 2


class SettingsError(StartError):
    """A setting is unknown, missing or has a value that cannot be used."""

    code = "bad_setting"


class KeyRingError(StartError):
    """The key-encryption keys are missing, malformed or not the ones this vault was sealed with."""

    code = "bad_key"


class KeyMissingError(KeyRingError):
    """No key-encryption key was given at all."""

    code = "no_key"


class FolderInUseError(StartError):
    """Another `authpipe dev` holds the data folder."""

    code = "folder_in_use"


class PortTakenError(StartError):
    """A port that Authpipe was told to listen on belongs to another program."""

    code = "port_taken"


class PartFailedError(StartError):
    """A part of the stack ended, or stayed silent, before it was ready for the first time."""

    code = "part_failed"


class SearchAttributeError(StartError):
    """Temporal knows one of our search attributes under another type, or refuses to create it."""

    code = "search_attribute_mismatch"
