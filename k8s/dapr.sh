#!/bin/sh
# Dapr's control plane, of the version that components/daprd/go.mod pins, once for each cluster. oncetune uses pub/sub
# only: neither actors nor the scheduler. The sidecars' capabilities are dropped, which Pod Security `restricted` asks for.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's|.*github.com/dapr/dapr v\([0-9.]*\).*|\1|p' components/daprd/go.mod)
if dapr status --kubernetes 2> /dev/null | grep -q dapr-sidecar-injector; then
  echo "Dapr is there already. Pod Security refuses our pods if it was installed without sidecarDropALLCapabilities=true."
  exit 0
fi
dapr init --kubernetes --wait --timeout 600 --runtime-version "$version" \
  --set dapr_sidecar_injector.sidecarDropALLCapabilities=true \
  --set global.actors.enabled=false \
  --set global.scheduler.enabled=false \
  --set global.logAsJson=true
