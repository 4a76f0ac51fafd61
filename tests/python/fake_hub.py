"""A small Hugging Face hub on the loopback: repositories with revisions, tokens and uploads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from loopback import Loopback

# Files from so many bytes on are stored apart, as by git LFS.
LARGE = 4096


@dataclass
class Repository:
    """Commits by their names, and the branches that point to them."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], branch: str = "main", message: str = "") -> str:
        """Add files to a branch."""
        before = self.commits.get(self.branches.get(branch, ""), {})
        name = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[name] = {**before, **files}
        self.branches[branch] = name
        self.messages.append(message)
        return name


class FakeHub(Loopback):
    """A server of the part of the hub's API that downloads and uploads need.

    Attributes:
        repositories: Repositories by name.
        token: The token that private repositories and all writing need.
        seen: Method and path of each request.
    """

    def __init__(self, token: str = "hf_secret") -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.token = token
        self.seen: list[tuple[str, str]] = []
        super().__init__()

    def make(self, name: str, files: dict[str, bytes], **options: Any) -> Repository:
        """A repository with files."""
        made = self.repositories[name] = Repository(**options)
        made.commit(files)
        return made

    def answer(self, request: Any) -> None:
        do = {"POST": self.write, "PUT": self.store}.get(request.command, self.read)
        do(request)

    # Reading

    def read(self, request: Any) -> None:
        path = urllib.parse.unquote(request.path.partition("?")[0])
        self.seen.append((request.command, path))
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found is None:
            self.send(request, 404, {"error": "no such page"})
            return
        name, revision, file = found.groups()
        repository = self.repositories.get(name)
        if repository is None or (repository.private and not self.is_known(request)):
            self.send(request, 401, {}, {"X-Error-Code": "RepoNotFound"})
            return
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self.send(request, 404, {}, {"X-Error-Code": "RevisionNotFound"})
            return
        body = repository.commits[commit].get(file)
        headers = {"X-Repo-Commit": commit}
        if body is None:
            self.send(request, 404, {}, {**headers, "X-Error-Code": "EntryNotFound"})
            return
        headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
        self.send(request, 200, body, headers)

    def is_known(self, request: Any) -> bool:
        return bool(request.headers.get("Authorization") == f"Bearer {self.token}")

    # Writing

    def write(self, request: Any) -> None:
        path = urllib.parse.unquote(request.path.partition("?")[0])
        self.seen.append(("POST", path))
        text = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if path == "/api/validate-yaml":
            self.send(request, 200, {"warnings": [], "errors": []})
        elif not self.is_known(request):
            self.send(request, 403, {"error": "a token that may write is needed"})
        elif path == "/api/repos/create":
            self.create(request, json.loads(text))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", path):
            repository = self.repositories[found[1]]
            repository.branches.setdefault(found[2], repository.branches.get("main", ""))
            self.send(request, 200, {})
        elif re.fullmatch(r"/api/models/.+/preupload/.+", path):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] >= LARGE else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(text)["files"]
            ]
            self.send(request, 200, {"files": modes})
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.batch(request, json.loads(text))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            self.commit(request, found[1], found[2], text)
        else:
            self.send(request, 404, {"error": "no such page"})

    def create(self, request: Any, given: dict[str, Any]) -> None:
        name = f"{given.get('organization') or 'me'}/{given['name']}"
        if name in self.repositories:
            self.send(request, 409, {"error": "it exists", "url": f"{self.address}/{name}"})
            return
        private = bool(given.get("private")) or given.get("visibility") == "private"
        self.repositories[name] = Repository(private=private)
        self.send(request, 200, {"url": f"{self.address}/{name}", "name": name})

    def batch(self, request: Any, given: dict[str, Any]) -> None:
        objects = [
            {
                **wanted,
                "actions": {"upload": {"href": f"{self.address}/store/{wanted['oid']}"}},
            }
            for wanted in given["objects"]
        ]
        self.send(request, 200, {"transfer": "basic", "objects": objects})

    def store(self, request: Any) -> None:
        self.seen.append(("PUT", request.path))
        body = request.rfile.read(int(request.headers["Content-Length"]))
        name = request.path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == name
        self.large[name] = body
        self.send(request, 200, {})

    def commit(self, request: Any, name: str, branch: str, text: bytes) -> None:
        files, message = {}, ""
        for line in text.decode().splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "header":
                message = value["summary"]
            elif part["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif part["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
        commit = self.repositories[name].commit(files, branch, message)
        address = f"{self.address}/{name}/commit/{commit}"
        pull = {"pullRequestUrl": f"{self.address}/{name}/discussions/1"}
        wanted = "create_pr=1" in request.path
        self.send(
            request,
            200,
            {
                "success": True,
                "commitOid": commit,
                "commitUrl": address,
                **(pull if wanted else {}),
            },
        )

    def send(
        self,
        request: Any,
        status: int,
        body: bytes | dict[str, Any],
        headers: dict[str, str] | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        if isinstance(body, dict):
            request.send_header("Content-Type", "application/json")
        for key, value in (headers or {}).items():
            request.send_header(key, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)
