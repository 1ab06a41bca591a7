BIN := .venv/bin
ONLY ?= $(basename $(notdir $(wildcard notebooks/source/*.py)))

.PHONY: notebooks
notebooks: $(addprefix run-,$(ONLY))

# Text → notebook → executed notebook; the old one is replaced only when every cell has run.
run-%: notebooks/source/%.py
	@echo "executing $<"
	@test ! -f notebooks/$*.ipynb || cp notebooks/$*.ipynb notebooks/.draft-$*.ipynb
	@$(BIN)/jupytext --quiet --to ipynb --update --set-kernel python3 --output notebooks/.draft-$*.ipynb $<
	@$(BIN)/jupyter nbconvert --log-level WARN --to notebook --execute --inplace \
	    --ExecutePreprocessor.timeout=900 --ExecutePreprocessor.record_timing=False notebooks/.draft-$*.ipynb
	@mv notebooks/.draft-$*.ipynb notebooks/$*.ipynb
