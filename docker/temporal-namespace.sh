#!/bin/sh
# The namespace `default` and Perdure's search attributes (session/wire.py), where they are missing.
set -eu

until temporal operator cluster health >/dev/null 2>&1; do sleep 1; done
temporal operator namespace describe --namespace default >/dev/null 2>&1 \
    || temporal operator namespace create --namespace default --retention 7d

known=$(temporal operator search-attribute list --namespace default)
for name in PerdureConversation PerdureStatus PerdureModel PerdureStopReason PerdureTenant; do
    case "$known" in
        *"$name"*) ;;
        *) temporal operator search-attribute create --namespace default --name "$name" --type Keyword ;;
    esac
done
