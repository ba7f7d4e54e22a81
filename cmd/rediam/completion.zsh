#compdef rediam
# rediam completion zsh: to be sourced, or as _rediam in a directory of fpath
_rediam() {
	local -a found
	if found=("${(@f)$(command rediam complete zsh -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"); then
		_describe rediam found
	else
		_files
	fi
}
if [ "$funcstack[1]" = _rediam ]; then
	_rediam "$@"
else
	compdef _rediam rediam
fi
