# Completion of topo for bash. It asks topo itself.

_topo() {
    local rest=${COMP_LINE:0:COMP_POINT} word glued i line name extension strip=
    local -a words=() starts=() found=()
    COMPREPLY=()
    # Bash splits words at colons and equals signs, too.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        glued=
        [[ $i -eq 0 || $rest == [[:space:]]* ]] || glued=1
        rest=${rest#"${rest%%[![:space:]]*}"}
        word=$rest
        if ((i < COMP_CWORD)); then
            word=${COMP_WORDS[i]}
            rest=${rest#"$word"}
        fi
        if [[ $glued ]]; then
            words[-1]+=$word
        else
            words+=("$word") starts+=("$i")
        fi
    done
    words=("${words[@]//[\'\"\\]/}")
    local current=${words[-1]}
    # Bash replaces only what follows the last of these characters.
    for i in : =; do
        if [[ $COMP_WORDBREAKS == *$i* && $current == *$i* ]]; then
            word=${current%"${current##*$i}"}
            ((${#word} > ${#strip})) && strip=$word
        fi
    done
    local part=${current#"$strip"}

    mapfile -t found < <(command topo complete -- "${words[@]}" 2>/dev/null)
    for line in "${found[@]}"; do
        name=${line%%$'\t'*}
        case $name in
        ':command '*)
            i=${name#:command }
            if declare -F _command_offset >/dev/null; then
                _command_offset "${starts[i]}"
            elif ((i == ${#words[@]} - 1)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$current")
            else
                compopt -o default
            fi
            return
            ;;
        :directories)
            compopt -o filenames
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$part")
            ;;
        :files)
            compopt -o filenames
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$part")
            ;;
        ':files '*)
            compopt -o filenames
            mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(
                compgen -d -- "$part"
                for extension in ${name#:files }; do compgen -f -X "!*.$extension" -- "$part"; done
            )
            ;;
        ?*) COMPREPLY+=("${name#"$strip"}") ;;
        esac
    done
}

complete -F _topo topo
