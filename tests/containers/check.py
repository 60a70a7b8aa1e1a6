"""Holds what deploy/ and the pipeline say of each other, and of the program, against what is so: tests/image runs it.

    check.py JUMUN SECRETS

JUMUN is the program, SECRETS the directory that deploy/make-secrets has filled. First everything as it is has to be sound;
then each rule has to find what MUTATIONS (mutations.py) breaks, for a rule that finds nothing may have stopped looking.
"""

import functools
import os
import re
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

from ruamel.yaml import YAML

from mutations import MUTATIONS

DOCKERFILE, COMPOSE, PROXY = "deploy/Dockerfile", "deploy/compose.yaml", "deploy/haproxy.cfg"
IGNORE, WORKFLOW, SECRETS = ".dockerignore", ".github/workflows/ci.yaml", "deploy/make-secrets"
PROGRAM = "/usr/local/bin/jumun"
# What images without a shell have to ask themselves with.
OWN_PROGRAM = {"jumun": PROGRAM, "jumun-local": PROGRAM, "docker.io/surrealdb/surrealdb": "/surreal"}
# Where those listen that are not jumun's.
OTHERS = {"engine-0": {5122, 8080, 9070}, "engine-1": {5122, 8080, 9070}, "engine-2": {5122, 8080, 9070},
          "surrealdb": {8000}, "postgres": {5432}}
LABELS = ["title", "description", "licenses", "source", "version", "revision"]
NEVER_SENT = ["deploy/secrets/token-key", "target/debug/jumun", ".git/config", ".jumun/card.key"]


class Files:
    """The work tree, with some files as if they had another text."""

    def __init__(self, instead=None):
        self.instead = instead or {}

    def text(self, path):
        return self.instead.get(path) or Path(path).read_text()

    def yaml(self, path):
        return YAML(typ="safe").load(self.text(path))

    def dockerfile(self):
        """Its instructions, each in one line."""
        lines = [line for line in self.text(DOCKERFILE).splitlines() if not line.lstrip().startswith("#")]
        for line in "\n".join(lines).replace("\\\n", " ").splitlines():
            if line.strip():
                yield tuple(line.split(None, 1))

    def versions(self):
        """What is used, as those say who decide it."""
        def said(path, pattern):
            return re.search(pattern, self.text(path), re.MULTILINE)[1]

        return {
            "jumun": said("Cargo.toml", r'^version = "(.*)"'),
            "rust": said("Cargo.toml", r'^rust-version = "(.*)"'),
            "surrealdb": said("Cargo.toml", r'^surrealdb = .*version = "=(.*?)"'),
            "engine": said("deploy/jumun/src/fetch.rs", r'^const VERSION: &str = "(.*)"'),
        }


class Jumun:
    """The program, as far as it tells what it understands."""

    def __init__(self, path):
        self.path = path

    @functools.cache
    def run(self, *arguments, environment=()):
        with tempfile.TemporaryDirectory() as directory:
            environment = {"HOME": directory, **dict(environment)}
            done = subprocess.run([self.path, *arguments], env=environment, cwd=directory, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    @functools.cache
    def help(self, *command):
        return self.run(*command, "--help")[1]

    def variables(self, *command):
        return set(re.findall(r"\[env: (\w+)", self.help(*command)))

    def commands(self):
        listed = re.search(r"Commands:\n((?: .*\n)+)", self.help())
        return re.findall(r"^  ([a-z]+) ", listed[1], re.MULTILINE)

    def faults(self, environment):
        """What is wrong with its settings. Whether there is a key to mint a token with is not asked."""
        arguments = ["token", "--role", "operator", "--subject", "check"]
        code, said = self.run(*arguments, environment=tuple(sorted(environment.items())))
        return said.strip() if code == 2 else None


def pinned(image, instead):
    """Whether it is the same image tomorrow, but for its corrections."""
    image = re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda name: instead.get(name[1], name[2] or ""), image)
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    # Distroless has no other tags.
    return "@sha256:" in image or bool(re.match(r"v?\d+\.\d+", tag)) or image.startswith("gcr.io/distroless/")


def sent(path, patterns):
    """Whether .dockerignore lets a path through: of the patterns that are about it, the last one counts."""
    parents = [str(parent) for parent in [Path(path), *Path(path).parents]][:-1]
    let_through = True
    for pattern in patterns:
        name = pattern.lstrip("!").removeprefix("**/")
        if any(fnmatch(parent, name) and parent.count("/") == name.count("/") for parent in parents):
            let_through = pattern.startswith("!")
    return let_through


def dockerfile(files):
    versions, instructions = files.versions(), list(files.dockerfile())
    arguments = dict(rest.split("=", 1) for name, rest in instructions if name == "ARG" and "=" in rest)
    ignore = files.text(IGNORE).splitlines()
    patterns = [line for line in ignore if line and not line.startswith("#")]
    stages, bases = set(), {}
    for name, rest in instructions:
        words = [word for word in rest.split() if not word.startswith("--")]
        flags = dict(word[2:].split("=", 1) for word in rest.split() if word.startswith("--") and "=" in word)
        if name == "FROM":
            base, stage = words[0], words[2] if len(words) > 2 else ""
            if base not in stages and not pinned(base, arguments):
                yield f"{DOCKERFILE}: {base} is not pinned"
            rust = re.match(r"docker.io/library/rust:([\d.]+)-", base)
            if rust and rust[1] != versions["rust"]:
                yield f"{DOCKERFILE}: Rust {rust[1]}, and the workspace asks for {versions['rust']}"
            stages.add(stage)
            bases[stage] = base
        elif name == "ADD":
            yield f"{DOCKERFILE}: ADD, which may fetch; COPY does not"
        elif name == "COPY" and "from" in flags:
            if flags["from"] not in stages:
                yield f"{DOCKERFILE}: there is no stage {flags['from']}"
        elif name == "COPY":
            for path in words[:-1]:
                if not Path(path).exists():
                    yield f"{DOCKERFILE}: there is no {path}"
                elif not sent(path, patterns):
                    yield f"{IGNORE}: keeps {path} back, which {DOCKERFILE} copies"
    for path in NEVER_SENT:
        if sent(path, patterns):
            yield f"{IGNORE}: lets {path} through"
    for target in ["jumun", "jumun-local"]:
        if bases.get(target) != "runtime":
            yield f"{DOCKERFILE}: there is no target {target} on the runtime"
    for instruction in [("USER", "65532:65532"), ("STOPSIGNAL", "SIGTERM"), ("ENTRYPOINT", f'["{PROGRAM}"]')]:
        if instruction not in instructions:
            yield f"{DOCKERFILE}: no {' '.join(instruction)}"
    labels = " ".join(rest for name, rest in instructions if name == "LABEL")
    for label in LABELS:
        if f"org.opencontainers.image.{label}=" not in labels:
            yield f"{DOCKERFILE}: no label {label}"
    lock_file = re.search(r'jumun\.lock-file="(.*?)/Cargo\.lock"', labels)
    copied = " ".join(rest for name, rest in instructions if name == "RUN")
    if not lock_file or not re.search(rf"/out{lock_file[1]} .*Cargo\.lock", copied):
        yield f"{DOCKERFILE}: the lock file is not where its label says"
    for path in re.findall(r'path = "([^.].*\.rs)"', files.text("tests/Cargo.toml")):
        if f"tests/{path}" not in copied:
            yield f"{DOCKERFILE}: the tests' package has no {path}"
    if arguments.get("VERSION") != versions["jumun"]:
        yield f"{DOCKERFILE}: the version is {arguments.get('VERSION')}, and jumun's {versions['jumun']}"
    if f"@restatedev/restate-server@{versions['engine']}" not in copied:
        yield f"{DOCKERFILE}: the engine is not {versions['engine']}, which jumun fetches"


def listeners(files, services):
    """Who listens where, by the names that they have on the networks."""
    ours = dict(re.findall(r"JUMUN_(\w+)_LISTEN=0\.0\.0\.0:(\d+)", files.text(DOCKERFILE)))
    parts = {"api": ["API"], "worker": ["WORKER", "MANAGEMENT"]}
    listening = OTHERS | {part: {int(ours[name]) for name in names if name in ours} for part, names in parts.items()}
    binds = {int(port) for port in re.findall(r"bind :(\d+)", files.text(PROXY))}
    for name, service in services.items():
        port = service.get("environment", {}).get("JUMUN_PROVIDER_LISTEN", "").rpartition(":")[2]
        if port:
            listening[name] = {int(port)}
    networks = (services["proxy"].get("networks") or {}).values()
    for alias in ["proxy", *[alias for network in networks for alias in (network or {}).get("aliases", [])]]:
        listening[alias] = binds
    return listening


def compose(files, jumun, secrets):
    document, versions = files.yaml(COMPOSE), files.versions()
    services, used = document["services"], set()
    listening = listeners(files, services)
    for name, service in services.items():
        where, image = f"{COMPOSE}: {name}", service["image"]
        if not pinned(image, {}):
            yield f"{where}: {image} is not pinned"
        check, reason = service.get("healthcheck"), service.get("x-no-healthcheck")
        if not check and not reason:
            yield f"{where}: neither a healthcheck nor a reason (x-no-healthcheck)"
        program = OWN_PROGRAM.get(image.partition(":")[0])
        if check and program and check["test"][:2] != ["CMD", program]:
            yield f"{where}: its image has no shell, and nothing to ask with but {program}"
        if service.get("ports") and name != "proxy":
            yield f"{where}: publishes a port, which only the proxy may"
        if any(not str(port).startswith("127.0.0.1:") for port in service.get("ports", [])):
            yield f"{where}: publishes a port to others than this machine"
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get(
            "security_opt", []
        ):
            yield f"{where}: may more than it has to"
        for kind in ["secrets", "configs", "networks"]:
            for item in service.get(kind) or []:
                key = item["source"] if isinstance(item, dict) else item
                used.add((kind, key))
                if key not in document[kind]:
                    yield f"{where}: there is no {key} among the {kind}"
        for volume in service.get("volumes", []):
            if volume.partition(":")[0] not in document["volumes"]:
                yield f"{where}: {volume} is no volume"
        for other in service.get("depends_on", {}):
            if other not in services:
                yield f"{where}: there is no {other} to depend on"
        environment = service.get("environment", {})
        for key, value in environment.items():
            if str(value).startswith("/run/secrets/") and value.rpartition("/")[2] not in service.get("secrets", []):
                yield f"{where}: {key} is a secret that it is not given"
            for host, port in re.findall(r"(?:http|ws)://([\w-]+):(\d+)", str(value)):
                if int(port) not in listening.get(host, ()):
                    yield f"{where}: {key}: nobody listens at {host}:{port}"
        if image.startswith("jumun"):
            yield from told(where, service, document["secrets"], jumun, secrets)
    for kind in ["secrets", "configs"]:
        for key, item in document[kind].items():
            path = Path(item["file"])
            if not (secrets / path.name if kind == "secrets" else Path("deploy") / path).is_file():
                yield f"{COMPOSE}: there is no {path}"
            if (kind, key) not in used:
                yield f"{COMPOSE}: nobody uses {key}"
    for image, version in [("restatedev/restate:", versions["engine"]), ("surrealdb/surrealdb:v", versions["surrealdb"])]:
        if not all(service["image"].endswith(image + version) for service in services.values() if image in service["image"]):
            yield f"{COMPOSE}: {image} is another version than {version}, which jumun is made for"
    if f"VERSION:-{versions['jumun']}}}" not in files.text(COMPOSE):
        yield f"{COMPOSE}: the version is not {versions['jumun']}"
    for host, port in re.findall(r"^\s+server(?:-template)? \S+ (?:\d+ )?([\w-]+):(\d+)", files.text(PROXY), re.MULTILINE):
        if int(port) not in listening.get(host, ()):
            yield f"{PROXY}: nobody listens at {host}:{port}"


def told(where, service, defined, jumun, secrets):
    """Whether jumun understands what a service tells it."""
    command = service["command"]
    code, said = jumun.run(*command, "--help")
    if code:
        yield f"{where}: jumun does not understand {command}: {said.splitlines()[0]}"
        return
    environment = {}
    for key, value in service.get("environment", {}).items():
        if "__" not in key and key not in jumun.variables(*command[:1]):
            yield f"{where}: jumun {command[0]} has no {key}"
        if value.startswith("/run/secrets/"):
            value = str(secrets / Path(defined[value.rpartition("/")[2]]["file"]).name)
        environment[key] = value
    if fault := jumun.faults(environment):
        yield f"{where}: {fault}"


def names(files, jumun):
    """Every variable and flag of jumun's that is written down somewhere is one."""
    variables = {variable for command in [(), *[(command,) for command in jumun.commands()]]
                 for variable in jumun.variables(*command)}
    section, settings = "", set()
    for line in files.text("deploy/jumun.toml").splitlines():
        if header := re.match(r"(?:# )?\[([\w.]+)\]", line):
            section = header[1]
        for key in re.findall(r"(?:^|^# |[ ])(\w+) = ", line):
            settings.add(f"JUMUN_{section.replace('.', '__')}__{key}".upper())
    for path in [DOCKERFILE, COMPOSE, WORKFLOW, SECRETS, "tests/compose"]:
        text = files.text(path)
        for variable in sorted(set(re.findall(r"\bJUMUN_[A-Z0-9_]+\b", text))):
            if "__" not in variable:
                if variable not in variables:
                    yield f"{path}: jumun has no variable {variable}"
            elif variable not in settings and variable.removesuffix("_FILE") not in settings:
                yield f"{path}: {variable} is not in deploy/jumun.toml"
            elif "there is no such setting" in (jumun.faults({variable: "x"}) or ""):
                yield f"{path}: jumun has no setting {variable}"
        for command, rest in re.findall(rf"{PROGRAM} ([a-z]+)([^\n)|]*)", text):
            for flag in re.findall(r"--[a-z-]+", rest):
                if f"{flag} " not in jumun.help(command) and f"{flag}\n" not in jumun.help(command):
                    yield f"{path}: jumun {command} has no {flag}"


def workflow(files):
    document, text, versions = files.yaml(WORKFLOW), files.text(WORKFLOW), files.versions()
    stages = {rest.split()[-1] for name, rest in files.dockerfile() if name == "FROM"}
    for line in re.findall(r"uses: (.*)", text):
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line):
            yield f"{WORKFLOW}: {line} is not pinned to a commit and its version"
    if document.get("permissions") != {}:
        yield f"{WORKFLOW}: jobs may more than they say"
    for name, job in document["jobs"].items():
        where = f"{WORKFLOW}: {name}"
        if job.get("permissions") != {"contents": "read"}:
            yield f"{where}: may more than read"
        if "timeout-minutes" not in job:
            yield f"{where}: has no end"
        image = job.get("container", {}).get("image")
        rust = re.match(r"docker.io/library/rust:([\d.]+)-", image or "")
        if image and not pinned(image, {}):
            yield f"{where}: {image} is not pinned"
        if rust and rust[1] != versions["rust"]:
            yield f"{where}: Rust {rust[1]}, and the workspace asks for {versions['rust']}"
        for step in job["steps"]:
            for script in re.findall(r"(?:^|\s)((?:\.ci|tests|deploy)/[\w-]+)", step.get("run", "")):
                if not os.access(script, os.X_OK) or not Path(script).is_file():
                    yield f"{where}: there is no script {script}"
            target = step.get("with", {}).get("target")
            if target and target not in stages:
                yield f"{where}: {DOCKERFILE} has no target {target}"


def everything(files, jumun, secrets):
    return [*dockerfile(files), *compose(files, jumun, secrets), *names(files, jumun), *workflow(files)]


def main(jumun, secrets):
    jumun, secrets = Jumun(str(Path(jumun).absolute())), Path(secrets)
    found = everything(Files(), jumun, secrets)
    print(*found, sep="\n", end="\n" if found else "")
    if found:
        return 1
    for path, old, new, expected in MUTATIONS:
        text = Files().text(path)
        if old not in text:
            found.append(f"{path} has no {old!r} any more: mend mutations.py")
            continue
        complaints = everything(Files({path: text.replace(old, new)}), jumun, secrets)
        if not any(expected in complaint for complaint in complaints):
            found.append(f"{path} with {new!r} for {old!r} should have been: {expected}; was: {complaints}")
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(MUTATIONS) - len(found)} passed, {len(found)} failed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
