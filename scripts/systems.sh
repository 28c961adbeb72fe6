# shellcheck shell=bash
# Makes new Debian systems with debootstrap, from the mirror of this machine's apt, for scripts that test
# in them. A script sources this file after it has changed to the top of the tree. It needs root.
#
# Everything is under build/distributions/. For each release: RELEASE/ is the system; RELEASE.tar is a copy of
# the system as debootstrap made it, from which the next run begins; packages/RELEASE/ has the fetched
# packages, which the next run does not fetch again.
top=$PWD/build/distributions

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || fail "debootstrap and its systems need root"

make_system() { # RELEASE
    local release=$1 mirror
    command -v debootstrap >/dev/null ||
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y debootstrap || return 1
    # shellcheck disable=SC2016  # apt's variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p)
    [ -n "$mirror" ] || fail "this machine's apt knows no Debian mirror"
    mkdir -p "$top/packages/$release"
    if [ ! -e "$top/$release.tar" ]; then
        rm -rf "${top:?}/$release"
        debootstrap --variant=minbase --include=make,ca-certificates \
            --cache-dir="$top/packages/$release" "$release" "$top/$release" "$mirror" || return 1
        printf '#!/bin/sh\nexit 101\n' >"$top/$release/usr/sbin/policy-rc.d" # no service is started
        chmod +x "$top/$release/usr/sbin/policy-rc.d"
        apt-config dump | grep -E '^Acquire::https?::' >"$top/$release/etc/apt/apt.conf.d/90machine" || true
        # apt keeps the fetched packages, for the next system.
        echo 'APT::Keep-Downloaded-Packages "true";' >"$top/$release/etc/apt/apt.conf.d/91keep"
        rm -f "$top/$release/etc/apt/apt.conf.d/docker-clean"
        tar -C "$top" -cf "$top/$release.tar.new" "$release"
        mv "$top/$release.tar.new" "$top/$release.tar"
    else
        rm -rf "${top:?}/$release"
        tar -C "$top" -xf "$top/$release.tar"
    fi
}

# Copies the tracked and the new files of this tree, without build products.
copy_tree() { # RELEASE
    local target=$top/$1/stayd
    mkdir -p "$target"
    find "$target" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    # shellcheck disable=SC2016  # the inner shell's variables
    git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c \
        'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh |
        tar --null -T - -cf - | tar -C "$target" -xf -
}

# Runs a command with mounts and processes of its own, which end with the command.
run_in() { # RELEASE COMMAND
    # shellcheck disable=SC2016  # the inner shell's variables
    nice unshare --mount --pid --fork --kill-child bash -c '
        set -e
        mount --make-rprivate /
        mount --bind "$1" "$1"
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        mount -t tmpfs tmpfs "$1/dev/shm"
        mkdir -p "$1/var/cache/apt/archives/partial"
        mount --bind "$2" "$1/var/cache/apt/archives"
        cd "$1"
        mkdir -p outside # not chroot: a process in a chroot cannot make the user namespaces that tests need
        pivot_root . outside
        umount -l /outside
        cd /stayd
        exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 bash -c "$3"' \
        bash "$top/$1" "$top/packages/$1" "$2" </dev/null
}
