#!/usr/bin/env bash
# The name people type: `scripts/devnet.sh down`.
exec "$(dirname "${BASH_SOURCE[0]}")/devnet.sh" down "$@"
