#!/bin/sh
# Makes every secret that docker-compose.yml reads, in ./secrets or the folder named. Overwrites none.
# Containers read them under users of their own, so the files are readable and the folder is not to be entered.
set -eu
folder="${1:-secrets}"
if [ -e "$folder" ]; then
    echo "$folder exists already; nothing was changed" >&2
    exit 1
fi
mkdir -m 700 "$folder"
umask 022

password() {
    openssl rand -hex 24
}

keep() {
    printf '%s\n' "$2" >"$folder/$1"
}

authpipe="$(password)"
keep postgres_password "$(password)"
keep temporal_password "$(password)"
keep authpipe_password "$authpipe"
keep database_url "postgresql://authpipe:$authpipe@postgres:5432/authpipe"
keep key_encryption_key "key1:$(openssl rand -base64 32)"
echo "made $folder; keep a copy of $folder/key_encryption_key elsewhere: without it no backup can be opened"
