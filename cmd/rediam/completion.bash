# rediam completion bash
_rediam() {
	local IFS=$'\n' # joins words, and splits what rediam prints
	local words="${COMP_WORDS[*]:1:COMP_CWORD}" part=${COMP_WORDS[COMP_CWORD]}
	# Bash takes "--format=json" and "host:6379" for three words, and completes the third.
	words=${words//$'\n'=/=}
	words=${words//=$'\n'/=}
	words=${words//$'\n':/:}
	words=${words//:$'\n'/:}
	[ "$part" = = ] && part=
	local whole=${words##*$'\n'}
	COMPREPLY=($(command rediam complete bash -- "$words" 2>/dev/null))
	COMPREPLY=("${COMPREPLY[@]#"${whole%"$part"}"}")
}
complete -o default -F _rediam rediam
