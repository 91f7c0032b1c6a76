#!/bin/sh
# The Secrets that profiles/minikube.yaml names, with fresh random values. Those that are there already stay as they are:
# a new password in front of an old database would only lock it. Nothing is printed.
#   k8s/secrets.sh [NAMESPACE]
set -eu
namespace=${1:-oncetune}

make_secret() {
  if kubectl --namespace "$namespace" get secret "$1" > /dev/null 2>&1; then
    echo "secret/$1 is there already"
    return
  fi
  head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' \
    | kubectl --namespace "$namespace" create secret generic "$1" --from-file="$2=/dev/stdin"
}

make_secret oncetune-gateway shared-secret
make_secret oncetune-postgres password
make_secret oncetune-broker password
make_secret oncetune-dapr-api token
make_secret oncetune-dapr-app token
