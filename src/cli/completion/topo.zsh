#compdef topo
# Completion of topo for zsh. It asks topo itself.

_topo() {
    local line name
    local -a found values items
    found=("${(@f)$(command topo complete -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in $found; do
        name=${line%%$'\t'*}
        case $name in
        (':command '*)
            shift ${name#:command } words
            ((CURRENT -= ${name#:command }))
            _normal
            return
            ;;
        (:directories) items+=('directories:directory:_files -/') ;;
        (:files) items+=('files:file:_files') ;;
        (':files '*) items+=("files:lab file:_files -g '*.(${${name#:files }// /|})(-.)'") ;;
        (*) values+=("${name//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    (($#values)) && items+=('values:value:_topo_values')
    (($#items)) || return 1
    # The value of `--option=value`.
    if [[ $PREFIX == --*=* ]] && ((! $#values)); then
        compset -P '*='
    fi
    _alternative $items
}

_topo_values() {
    _describe -t values value values
}

if [[ $funcstack[1] == _topo ]]; then
    _topo "$@"
else
    compdef _topo topo
fi
