# shellcheck shell=sh disable=SC2317  # put_back is called by a trap
# What scripts/demo and scripts/test need of a machine; both read this in.  POSIX sh.

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
        then
            command -v "$candidate"
            return
        fi
    done
    echo "$0: Python 3.11 or later is needed; PYTHON=... names one" >&2
    return 1
}

is_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

has_venv() { "$1" -c 'import ensurepip' 2>/dev/null; } # PYTHON

# apt-get install PACKAGE..., with services kept from starting by themselves
install_packages() (
    policy=/usr/sbin/policy-rc.d
    log=$(mktemp)
    kept=
    if [ -e "$policy" ]; then
        kept=$(mktemp)
        cp -p "$policy" "$kept"
    fi
    put_back() {
        rm -f "$log"
        if [ -n "$kept" ]; then
            cp -p "$kept" "$policy" && rm -f "$kept"
        else
            rm -f "$policy"
        fi
    }
    trap put_back EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    export DEBIAN_FRONTEND=noninteractive
    fetch() { apt-get install -qq -y --no-install-recommends "$@" >>"$log" 2>&1; }
    fetch "$@" || { apt-get update -qq >"$log" 2>&1 && fetch "$@"; } || {
        echo "$0: apt-get failed:" >&2
        tail -n 3 "$log" >&2
        exit 1
    }
)

# make_venv DIRECTORY EXTRA PYTHON: this checkout and what its EXTRA asks for; once
make_venv() {
    # as of this checkout: its requirements may have grown since
    wanted="$PWD $(cat setup.cfg pyproject.toml | cksum)"
    stamp=$1/installed-$2
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] &&
        "$1/bin/python" -c 'import dcmirror' 2>/dev/null
    then
        return
    fi
    echo "== Python packages into $1 (once)"
    [ -w . ] || {
        echo "$0: $PWD: $(id -un) may not write here; clone it where you may" >&2
        return 1
    }
    begin_venv "$1" "$3" || {
        echo "$0: $3 has no venv; on Debian: apt-get install python3-venv" >&2
        return 1
    }
    # Newer pips show a warning of the build that is about editable installs at large.
    PYTHONWARNINGS=ignore "$1/bin/python" -m pip install --quiet \
        --disable-pip-version-check -e ".[$2]" || {
        echo "$0: the Python packages could not be installed" >&2
        return 1
    }
    printf '%s' "$wanted" >"$stamp"
}

begin_venv() { # DIRECTORY PYTHON
    # One that was begun without pip has a Python and is of no use.
    if "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    if ! has_venv "$2" && is_root_on_debian; then
        install_packages python3-venv || return
    fi
    if has_venv "$2"; then
        "$2" -m venv "$1"
    elif "$2" -m pip --version >/dev/null 2>&1; then
        # Debian's pip without Debian's venv
        "$2" -m venv --without-pip "$1" &&
            "$2" -m pip --python "$1/bin/python" install --quiet pip
    else
        return 1
    fi
}
