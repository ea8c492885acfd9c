#!/bin/sh
# Builds the Kubernetes API server and controller manager that the tests of tests/kubernetes run on, as ordinary Go modules,
# into DIR (default: ~/.cache/tidegauge/kube), with etcd beside them. Prints the line that makes the tests find them.
#
#   tests/kubernetes/build-kube.sh [DIR]        KUBE_VERSION=1.35.4  KUBE_BUILD_JOBS=1
#
# k8s.io/kubernetes names its own libraries as v0.0.0, which no proxy has: each is replaced by its published v0.x of the same
# release. Nothing is built twice: Go's cache keeps what an interrupted build had done.
set -eu

version=${KUBE_VERSION:-1.35.4}
jobs=${KUBE_BUILD_JOBS:-1}
out=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegauge/kube}

need() { command -v "$1" >/dev/null 2>&1 || { echo "build-kube: $1 is not installed: $2" >&2; exit 1; }; }
need go "https://go.dev (1.25 or newer)"
etcd=$(command -v etcd || true)
[ -n "$etcd" ] || { echo "build-kube: etcd is not installed (Debian: apt-get install etcd-server)" >&2; exit 1; }

mkdir -p "$out/build"
ln -sf "$etcd" "$out/etcd"
cd "$out/build"
if [ ! -f ".ready-$version" ]; then
    rm -f go.mod go.sum .ready-* "$out/kube-apiserver" "$out/kube-controller-manager"
    go mod init kube >/dev/null 2>&1
    go_mod=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",\{0,1\}$/\1/p')
    go mod edit -require="k8s.io/kubernetes@v$version"
    sed -n 's/^\t*\(k8s\.io\/[a-z-]*\) v0\.0\.0\( .*\)\{0,1\}$/\1/p' "$go_mod" | sort -u | while read -r library; do
        go mod edit -replace="$library=$library@v0.${version#1.}"
    done
    touch ".ready-$version"
fi
flags="-X k8s.io/component-base/version.gitVersion=v$version -X k8s.io/component-base/version.gitMajor=1"
flags="-s -w $flags -X k8s.io/component-base/version.gitMinor=$(echo "$version" | cut -d. -f2)"
for part in kube-apiserver kube-controller-manager; do
    if [ ! -x "$out/$part" ]; then
        echo "build-kube: building $part $version (minutes of one CPU)" >&2
        CGO_ENABLED=0 GOMAXPROCS="$jobs" go build -mod=mod -p "$jobs" -trimpath -ldflags "$flags" -o "$out/$part" "k8s.io/kubernetes/cmd/$part"
    fi
done
echo "KUBEBUILDER_ASSETS=$out"
