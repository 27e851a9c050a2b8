# SPDX-License-Identifier: Apache-2.0
# bash completion for gatehouse. Field names come from `gatehouse fields`, which needs no collector.

_gatehouse_fields() {
  gatehouse fields --json 2>/dev/null | sed -n 's/^{"name":"\([^"]*\)".*/\1/p'
}

_gatehouse() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command='' word
  local commands='tail query session top agents approvals token verify fields rules version'
  local options='--help --collector --credentials --output --json --no-color --no-pager'
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ " $commands " == *" $word "* ]] && command=$word && break
  done
  case $previous in
    --output) COMPREPLY=($(compgen -W 'table json' -- "$current")); return ;;
    --credentials) COMPREPLY=($(compgen -d -- "$current")); return ;;
    --since|--until) COMPREPLY=($(compgen -W '5m 1h 1d today yesterday now' -- "$current")); return ;;
    --by) COMPREPLY=($(compgen -W "$(_gatehouse_fields)" -- "$current")); return ;;
    --columns)
      local done=''
      [[ $current == *,* ]] && done=${current%,*},
      COMPREPLY=($(compgen -P "$done" -W "actor database session outcome rows what $(_gatehouse_fields)" -- "${current##*,}"))
      compopt -o nospace
      return ;;
    --scope) COMPREPLY=($(compgen -W 'process person' -- "$current")); return ;;
    --collector|--limit|--valid|--reason|--for) return ;;
  esac
  if [[ $command == verify && $current != -* ]]; then
    COMPREPLY=($(compgen -d -- "$current"))
    return
  fi
  case $command in
    '') COMPREPLY=($(compgen -W "$commands $options" -- "$current")); return ;;
    tail) options+=' --since --columns' ;;
    query) options+=' --since --until --limit --oldest-first --columns' ;;
    session) options+=' --limit --columns' ;;
    top) options+=' --by --since --until --limit' ;;
    rules)
      [[ $previous == rules ]] && options+=' check test explain backtest fields'
      if [[ $current != -* && $previous != rules ]]; then
        COMPREPLY=($(compgen -f -- "$current"))
        return
      fi
      options+=' --on --rule --sql --field --complete' ;;
    approvals)
      [[ $previous == approvals ]] && options+=' list show approve deny review'
      if [[ $current != -* && $previous =~ ^(show|approve|deny|review)$ ]]; then
        COMPREPLY=($(compgen -W "$(gatehouse approvals list --json 2>/dev/null | sed -n 's/^{"id":"\([^"]*\)".*/\1/p')" -- "$current"))
        return
      fi
      options+=' --all --limit --full --reason --for --scope --break-glass' ;;
    token) options+=' --valid'; [[ $previous == token ]] && options+=' create' ;;
  esac
  if [[ $command =~ ^(tail|query|top)$ && $current != -* ]]; then
    COMPREPLY=($(compgen -W "$(_gatehouse_fields)" -- "$current"))
    compopt -o nospace
    return
  fi
  COMPREPLY=($(compgen -W "$options" -- "$current"))
}
complete -F _gatehouse gatehouse
