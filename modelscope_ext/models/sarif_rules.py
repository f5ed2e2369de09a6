"""Every code of a finding, with the level it mostly has and what it means: the rules of a SARIF log.

A test compares the table with the codes that the package makes. A plug-in's own code needs no row here.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["RULES"]

#: Code -> (level, one sentence).
RULES: Mapping[str, tuple[str, str]] = {
    # what a load without grants refuses
    "remote-code": ("danger", "The model asks to run Python that came with it."),
    "pickle-refused": ("danger", "A pickle that is more than plain tensors would be read."),
    "redirect": ("danger", "The model leads to another source that was not allowed."),
    "path-escape": ("danger", "A path or a link leaves the model's folder."),
    "beyond-limits": ("danger", "Something is larger, deeper or longer than the limits allow."),
    "malformed": ("danger", "A file breaks its own format."),
    "unknown-type": ("danger", "A class name is outside the closed table of its library."),
    "install": ("danger", "The model asks for packages to be installed."),
    "program": ("danger", "A weight file is a program."),
    "refused": ("danger", "A load of the model would be refused."),
    "vulnerable-library": ("danger", "An installed library has a known hole that loading a model may meet."),
    # what is in the files
    "chat-template": ("info", "A chat template; it is rendered sandboxed."),
    "template-disagreement": ("warning", "Chat templates that should be one differ."),
    "signature": ("info", "The model is signed; who signed it is not looked at."),
    "code-files": ("info", "Code lies in the folder; nothing asks for it to be run."),
    "grant-in-file": ("warning", "A file asks for remote code; only the caller can grant that."),
    "pickle-calls": ("warning", "A pickle would import more than plain tensors need."),
    "pickle-tensors": ("info", "A pickle names nothing but tensors."),
    "pickle-unknown": ("warning", "A pickle could not be judged."),
    "pickle-unread": ("info", "A pickle that no load opens."),
    "weights-malformed": ("danger", "A weight file breaks its own format."),
    "lfs-pointer": ("warning", "A git-LFS pointer stands in for a file."),
    "lfs-weights": ("warning", "git-LFS pointers stand in for weights."),
    "card-malformed": ("warning", "The front matter of the model card cannot be read."),
    "too-large": ("warning", "A file that does not decide alone is larger than the limits allow."),
    "yaml-python-tag": ("danger", "A YAML file asks for Python objects."),
    "yaml-tag": ("info", "A YAML file uses tags of its own."),
    "foreign-configuration": ("info", "configuration.json is another tool's."),
    # what the folder is
    "link": ("info", "A link inside the model."),
    "link-escape": ("danger", "A link leaves the model's folder."),
    "broken-link": ("warning", "A link to nothing."),
    "folder-link": ("info", "A link to a folder."),
    "hard-link": ("info", "A file has further names elsewhere on the disk."),
    "odd-file": ("danger", "A pipe, device or socket stands among the files."),
    "odd-name": ("warning", "A name that is no file name on some system."),
    "too-deep": ("warning", "Folders are nested too deeply to be looked into."),
    "unreadable": ("warning", "Something may not be read."),
    "local-folder": ("info", "A folder was taken, not the repo of a hub of that name."),
    "no-model": ("info", "Nothing here can be taken for a model."),
    "not-read": ("warning", "A folder that may be a model could not be looked into."),
    # what is declared, and what was decided
    "declared-framework": ("warning", "The declared framework is not what the files say."),
    "declared-backend": ("warning", "The declared library is not what the files say."),
    "declared-tasks": ("warning", "The declared tasks are not what the files say."),
    "declared-model-type": ("warning", "The declared type of the model is not what the files say."),
    "task-dropped": ("warning", "A declared task that the files cannot serve was ignored."),
    "task-contradiction": ("warning", "Two declarations, or one and the files, name different tasks."),
    "task-tag-dropped": ("warning", "The card's task contradicts the files and was ignored."),
    "task-unknown": ("info", "Prose stands where a task should be."),
    "task-not-served": ("warning", "The task that was asked for is not what the files are for."),
    "framework-contradiction": ("warning", "The declared framework is not the one the library runs the model in."),
    "framework-not-there": ("warning", "Nothing in the files speaks for the framework that was asked for."),
    "backend-not-there": ("warning", "Nothing in the files speaks for the library that was asked for."),
    "backend-broken": ("warning", "A plug-in could not say whether the model is its own."),
    "backend-contradiction": ("info", "Another library's format is there too."),
    "backend-tag-contradiction": ("info", "The card names another library."),
    "other-source": ("info", "configuration.json names the source that the model was made from."),
    "weights-choice": ("info", "One of several quantised files was chosen."),
}
