# bash completion for spoolward(8)

_spoolward_commands='status incidents list show release purge hold lift trust origins log fsck check-config help'

# Words that the daemon knows, by key; a daemon that does not answer costs half a second at most.
_spoolward_ask()
{
	local key=$1
	shift
	timeout 0.5 spoolward "$@" --json </dev/null 2>/dev/null | head -n 500 |
		sed -nE 's/.*"'"$key"'": *"?([^",}]+)"?.*/\1/p'
}

_spoolward_reply()
{
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_spoolward()
{
	local cur prev words cword command='' i
	local select='--incident --origin --sender --recipient --subject --larger --before --since --spool --all'
	local every='--json -c --socket -V'

	if declare -F _init_completion >/dev/null; then
		# a login is login:joe: the colon is part of the word
		_init_completion -n : || return
	else
		cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
	fi
	for ((i = 1; i < cword; i++)); do
		case ${words[i]} in
		-c | --socket) ((i++)) ;;
		-*) ;;
		*)
			command=${words[i]}
			break
			;;
		esac
	done
	case $prev in
	-c | --socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--incident) _spoolward_reply "$(_spoolward_ask id incidents)" && return ;;
	--origin) _spoolward_reply "$(_spoolward_ask origin incidents)" ;;
	--for | --trust) _spoolward_reply '1h 8h 1d 7d 30d' && return ;;
	--drip) _spoolward_reply '10/m 60/m 300/m' && return ;;
	--larger) _spoolward_reply '100K 1M 10M' && return ;;
	--sender | --recipient | --subject | --before | --since | --spool) return ;;
	esac
	if [[ $prev != --origin ]]; then
		case $command in
		'') _spoolward_reply "$_spoolward_commands $every" ;;
		incidents) _spoolward_reply "--all $every" ;;
		list | log) _spoolward_reply "$select $every" ;;
		show)
			if [[ $cur == -* ]]; then
				_spoolward_reply "--raw $every"
			else
				_spoolward_reply "$(_spoolward_ask id incidents) $(_spoolward_ask id list)"
			fi
			;;
		release | purge)
			if [[ $cur != -* ]]; then
				_spoolward_reply "$(_spoolward_ask id list)"
			elif [[ $command == release ]]; then
				_spoolward_reply "$select --trust --drip $every"
			else
				_spoolward_reply "$select --yes $every"
			fi
			;;
		hold | trust)
			if [[ $cur == -* ]]; then
				_spoolward_reply "--for $every"
			else
				_spoolward_reply "$(_spoolward_ask origin incidents) login: uid: script: client: sender: domain:"
			fi
			;;
		lift) _spoolward_reply "$(_spoolward_ask origin origins)" ;;
		help) _spoolward_reply "$_spoolward_commands --names" ;;
		fsck) _spoolward_reply "--repair $every" ;;
		check-config) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
		*) _spoolward_reply "$every" ;;
		esac
	fi
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$cur"
	fi
}
complete -F _spoolward spoolward
