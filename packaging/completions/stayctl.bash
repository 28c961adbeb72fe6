# Completes stayctl's commands, options, pools and files in bash. `make install` installs it as
# PREFIX/share/bash-completion/completions/stayctl.

# The pools of the configuration that -c names, or else of the packaged configuration.
_stayctl_pools() {
    local file=/etc/stayd/stayd.conf i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --config) file=${COMP_WORDS[i + 1]} ;;
        esac
    done
    if [[ -r $file ]]; then
        sed -n 's/^\[pool  *\([A-Za-z0-9_-]*\)\].*/\1/p' "$file"
    else
        echo cache sessions
    fi
}

_stayctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' given=0 i
    local commands='status top sessions latency stats get delete flush ping version reload backup cluster reseed check dump restore'
    local options='--config --server --user --json --yes --help --version'
    COMPREPLY=()
    case $before in
    -c | --config) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    -s | --server | -u | --user) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -c | --config | -s | --server | -u | --user) ((i++)) ;;
        -*) ;;
        *) if [[ -z $command ]]; then command=${COMP_WORDS[i]}; else ((given++)); fi ;;
        esac
    done
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        return
    fi
    case $command:$given in
    :*) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word") ;;
    stats:1) mapfile -t COMPREPLY < <(compgen -W 'settings items slabs sizes conns expiry latency' -- "$word") ;;
    cluster:0) mapfile -t COMPREPLY < <(compgen -W 'create status adopt' -- "$word") ;;
    check:0 | dump:0 | restore:0 | backup:1 | reseed:1) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    sessions:0 | latency:0 | stats:0 | get:0 | delete:0 | flush:0 | ping:0 | version:0 | backup:0 | restore:1 | reseed:0 | cluster:1)
        mapfile -t COMPREPLY < <(compgen -W "$(_stayctl_pools)" -- "$word")
        ;;
    esac
}

complete -o filenames -F _stayctl stayctl
