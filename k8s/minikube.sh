#!/bin/sh
# `make minikube`: a cluster on this machine, Dapr, the namespace, the Secrets, and oncetune in it. Safe to repeat.
# CPUS, MEMORY and DISK say how large; MINIKUBE_FLAGS are given to its start (--gpus all), SKAFFOLD_FLAGS to skaffold
# (--profile gpu).
set -eu
cd "$(dirname "$0")/.."

missing=
for program in minikube kubectl helm dapr skaffold docker; do
  command -v "$program" > /dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
  echo "Not on this machine:$missing. k8s/README.md says what each is for." >&2
  exit 1
fi

# shellcheck disable=SC2086
minikube status > /dev/null 2>&1 \
  || minikube start --cpus "${CPUS:-4}" --memory "${MEMORY:-10g}" --disk-size "${DISK:-60g}" --addons ingress ${MINIKUBE_FLAGS:-}
kubectl config use-context minikube > /dev/null
k8s/dapr.sh
kubectl apply --filename k8s/namespace.yaml
k8s/secrets.sh oncetune
# shellcheck disable=SC2086
skaffold run ${SKAFFOLD_FLAGS:-}
helm test oncetune --namespace oncetune --logs --timeout 20m
