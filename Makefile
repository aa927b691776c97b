# Each target is one script. Arguments: make test ARGS="tests/unit -x"
.PHONY: demo test quick soak check bench setup lock

demo:
	@scripts/demo

test:
	@scripts/test $(ARGS)

quick:
	@scripts/quick $(ARGS)

soak:
	@scripts/soak $(ARGS)

check:
	@scripts/check $(ARGS)

bench:
	@scripts/bench $(ARGS)

setup:
	@scripts/setup

lock:
	@scripts/lock $(ARGS)
