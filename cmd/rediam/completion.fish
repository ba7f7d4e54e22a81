# rediam completion fish
function __rediam_complete
	set -l words (commandline -opc) (commandline -ct)
	command rediam complete fish -- $words[2..] 2>/dev/null
	or __fish_complete_path (commandline -ct)
end
complete -c rediam -f -a '(__rediam_complete)'
