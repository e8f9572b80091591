# Read by what runs a bundle (generator/bundles.py) in the folder where it lies unpacked: $python finds its code and its
# packages before those of the machine.
mkdir -p site
for wheel in wheels/*.whl; do
    if [ -e "$wheel" ]; then "$python" -m zipfile -e "$wheel" site; fi
done
export PYTHONPATH="$PWD:$PWD/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
