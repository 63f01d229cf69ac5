#!/bin/sh
# Makes the secrets that compose.yaml names, once, each of random bytes. What is there already stays as it is.
# The folder is closed; the files in it are readable because the containers' own users must read them.
set -eu
folder=${1:?usage: secrets.sh FOLDER}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

random() { head -c "$1" /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_'; }
keep() { [ -e "$folder/$1" ] || printf '%s' "$2" >"$folder/$1"; }

keep secret_key "$(random 64)"
for name in postgres_password owner_password app_password redis_password; do keep "$name" "$(random 32)"; done
keep database_url "postgresql://remit_app:$(cat "$folder/app_password")@postgres:5432/remit"
keep database_owner_url "postgresql://remit_owner:$(cat "$folder/owner_password")@postgres:5432/remit"
keep redis_url "redis://:$(cat "$folder/redis_password")@valkey:6379/0"
chmod 444 "$folder"/*
echo "secrets are in $folder: back them up; without secret_key sealed payloads and keys are lost"
