# Completion of topo for fish. It asks topo itself.

function __topo_complete
    set -l current (commandline -ct)
    set -l words (commandline -opc) "$current"
    # The value of `--option=value`.
    set -l option (string match -r -- '^--[^=]*=' "$current")
    set -l part (string replace -- "$option" '' "$current")
    for line in (command topo complete -- $words 2>/dev/null)
        set -l instruction (string split -m 1 \t -- $line)[1]
        switch $instruction
            case ':command *'
                __fish_complete_subcommand --fcs-skip=(string replace ':command ' '' -- $instruction)
                return
            case ':directories'
                string replace -r '^' -- "$option" (__fish_complete_directories "$part")
            case ':files'
                string replace -r '^' -- "$option" (__fish_complete_path "$part")
            case ':files *'
                for extension in (string split ' ' -- (string replace ':files ' '' -- $instruction))
                    string replace -r '^' -- "$option" (__fish_complete_suffix "$part" ".$extension")
                end
            case '*'
                echo $line
        end
    end
end

complete -c topo -f -k -a '(__topo_complete)'
