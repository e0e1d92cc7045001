# Shared by the scripts beside this file; POSIX sh, sourced with these set: $script, the
# script's own name as people call it; $root, the checkout; $log, a file for the output of tools.
# shellcheck shell=sh disable=SC2154

# With packages of another environment in its path, pip takes them for installed.
unset PYTHONPATH PYTHONHOME

# say LINE...: tell what happens; standard error, so that output stays the output.
say() {
    printf '%s\n' "$@" >&2
}

# die LINE: say in one line what is wrong and what to do, and end.
die() {
    say "$script: $1"
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# as_root COMMAND...: run it as root if that needs no password; status 127 if it does.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 127
    fi
}

# apt_install PACKAGE...: install Debian packages if this user may and this is Debian.
apt_install() {
    have apt-get || return 127
    as_root true || return 127
    say "Installing $* ..."
    if [ -z "${apt_is_fresh:-}" ]; then
        # A third-party source that fails must not keep Debian's own from being used.
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >>"$log" 2>&1 || :
        apt_is_fresh=yes
    fi
    # The lock may be held by unattended-upgrades: wait for it.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 \
        install --no-install-recommends "$@" >>"$log" 2>&1
}

# find_python: set $python to a Python that ood can run on.
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        python=$("$candidate" -c \
            'import sys; print(sys.executable) if sys.version_info >= (3, 10) else exit(1)' \
            2>/dev/null) && return
    done
    if [ -z "${PYTHON:-}" ] && ! have python3 && apt_install python3 python3-venv; then
        python=/usr/bin/python3
        return
    fi
    die "there is no Python 3.10 or newer; run: sudo apt-get install python3 python3-venv"
}

# need_venv: Debian's python3 comes without what makes virtual environments.
need_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package=python3-venv
    [ "$python" = "$(command -v python3)" ] ||
        package=$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
    apt_install "$package" && return
    die "this Python can't make virtual environments; run: sudo apt-get install $package"
}

# install_ood DIRECTORY EXTRAS: have ood from this checkout, with EXTRAS ("[a,b]"), in the
# virtual environment DIRECTORY. What is there already and still right is left alone.
install_ood() {
    wanted=$(
        "$python" --version
        cat "$root/setup.cfg" "$root/pyproject.toml"
        echo "$root $2"
    )
    if [ -x "$1/bin/python" ] && [ "$(cat "$1/ood-installed" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    need_venv
    [ -w "$root" ] || die "can't write to $root; run it in a checkout of your own"
    say "Installing ood$2 into $1 (a minute or two) ..."
    rm -f "$1/ood-installed"
    "$python" -m venv --clear "$1" >>"$log" 2>&1 || failed "python -m venv $1"
    # editable_mode=compat: the other kinds hide twisted/plugins from Twisted. It needs pip 22.1.
    {
        "$1/bin/python" -m pip install -q --disable-pip-version-check 'pip>=22.1' &&
            "$1/bin/python" -m pip install -q --disable-pip-version-check \
                --config-settings editable_mode=compat --editable "$root$2"
    } >>"$log" 2>&1 || failed "pip install"
    printf '%s\n' "$wanted" >"$1/ood-installed"
}

# failed WHAT: show the end of the log and end.
failed() {
    tail -n 15 "$log" >&2
    die "$1 failed; its last lines are above"
}

# node_major: print the major version of the system's Node, 0 without one.
node_major() {
    node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0
}
