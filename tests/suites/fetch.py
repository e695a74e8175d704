"""Gets the suites from their packages, into target/suites: Debian's packages and sources, PyPI, npm.

What is there already is not fetched again. What can't be had ends the run with an error: no suite is skipped.
"""

import glob
import importlib
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STORE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "suites")


def run(*command, **options):
    """Runs a command whose failure ends the program with its output."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def debian(**packages):
    """Installs Debian packages; each is given as package=file that it brings (underscores stand for dashes)."""
    missing = [name.replace("_", "-") for name, file in packages.items() if not glob.glob(file)]
    if not missing:
        return
    if os.getuid():
        sys.exit(f"needs root to install {' '.join(missing)}")
    print(f"== installing {' '.join(missing)}", flush=True)
    # PostgreSQL's package would start a server of its own.
    os.makedirs("/etc/postgresql-common", exist_ok=True)
    if not os.path.exists("/etc/postgresql-common/createcluster.conf"):
        with open("/etc/postgresql-common/createcluster.conf", "w") as file:
            file.write("create_main_cluster = false\n")
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def postgres():
    """PostgreSQL 15's server and psql."""
    debian(postgresql_15="/usr/lib/postgresql/15/bin/postgres", postgresql_contrib="/usr/share/postgresql/15/extension/hstore.control",
           postgresql_client="/usr/bin/psql")


def postgres_source():
    """The directory of PostgreSQL 15's source, of the newest of Debian's source packages that can be had."""
    found = glob.glob(f"{STORE}/postgresql-15.*/src/test/regress")
    if found:
        return found[0].removesuffix("/src/test/regress")
    debian(bzip2="/bin/bzip2")
    os.makedirs(f"{STORE}/apt/lists/partial", exist_ok=True)
    os.makedirs(f"{STORE}/apt/parts", exist_ok=True)
    with open(f"{STORE}/apt/parts/source.sources", "w") as file:
        for address, suites in (("debian", "bookworm bookworm-updates"), ("debian-security", "bookworm-security")):
            file.write(f"Types: deb-src\nURIs: http://deb.debian.org/{address}\nSuites: {suites}\nComponents: main\n"
                       "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n")
    # Lists of its own: the machine's are left as they are.
    options = ["-o", f"Dir::Etc::SourceParts={STORE}/apt/parts", "-o", "Dir::Etc::SourceList=/dev/null",
               "-o", f"Dir::State::Lists={STORE}/apt/lists", "-o", "APT::Sandbox::User=root"]
    print("== fetching PostgreSQL's source", flush=True)
    run("apt-get", "update", "-qq", *options)
    versions = [line.split()[1] for line in run("apt-cache", *options, "showsrc", "postgresql-15").splitlines()
                if line.startswith("Version:")]
    # A mirror may list a version whose files it no longer or not yet has.
    for version in versions:
        done = subprocess.run(["apt-get", "source", *options, "--download-only", "-qq", f"postgresql-15={version}"], cwd=STORE,
                              capture_output=True, text=True)
        tar = glob.glob(f"{STORE}/postgresql-15_{version.split('-')[0]}.orig.tar.*")
        if done.returncode == 0 and tar:
            run("tar", "xf", tar[0], cwd=STORE)
            return glob.glob(f"{STORE}/postgresql-15.*/src")[0].removesuffix("/src")
    sys.exit(f"no version of PostgreSQL 15's source can be had: {versions}")


def python(name, *packages):
    """The interpreter of a virtual environment `name` with these packages of PyPI."""
    home = f"{STORE}/{name}"
    stamp = f"{home}/installed"
    if not os.path.exists(stamp) or open(stamp).read() != "\n".join(packages):
        print(f"== installing {' '.join(packages)}", flush=True)
        debian(python3_venv="/usr/lib/python3*/venv" if not _has_venv() else "/")
        run(sys.executable, "-m", "venv", home)
        run(f"{home}/bin/pip", "install", "-q", *packages)
        with open(stamp, "w") as file:
            file.write("\n".join(packages))
    return f"{home}/bin/python"


def _has_venv():
    return subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0


def load(interpreter, module):
    """A module of a virtual environment, for use in this process (of the same Python)."""
    for path in glob.glob(f"{os.path.dirname(os.path.dirname(interpreter))}/lib/python3*/site-packages"):
        sys.path.append(path)
    return importlib.import_module(module)


def version(interpreter, package):
    return run(interpreter, "-c", f"import importlib.metadata as m; print(m.version('{package}'))").strip()


def python_source(requirement, name):
    """The unpacked source distribution of a package of PyPI, without building it."""
    found = glob.glob(f"{STORE}/{name}-*/")
    if not found:
        print(f"== fetching the source of {requirement}", flush=True)
        pip = python("sources", "pip").removesuffix("python") + "pip"
        run(pip, "download", "-q", "--no-deps", "--no-binary", name, "-d", STORE, requirement)
        run("tar", "xf", glob.glob(f"{STORE}/{name}-*.tar.gz")[0], cwd=STORE)
        found = glob.glob(f"{STORE}/{name}-*/")
    return found[0]
