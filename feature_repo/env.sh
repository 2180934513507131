# Defaults for plain `feast` commands; what is already set stays. Use: cd feature_repo && . ./env.sh && feast apply
export OOML_DATA_DIR="${OOML_DATA_DIR:-$(cd .. && pwd)/data}"
export OOML_FEAST_REGISTRY="${OOML_FEAST_REGISTRY:-sqlite:///$OOML_DATA_DIR/registry.db}"
export OOML_FEAST_REDIS="${OOML_FEAST_REDIS:-127.0.0.1:6379}"
mkdir -p "$OOML_DATA_DIR"
