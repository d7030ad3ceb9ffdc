"""The steps at which optimisers that judge running trials hear of them, for those that count in whole steps."""


def steps(fidelity):
    """{step the optimiser is told: budget}.

    Where a run can go on (epochs), every unit of budget is a step. Where it starts again (the budget is the size of the training set) every
    step is paid anew, so there are only the usual rungs: 1/27, 1/9, 1/3 and all of the full budget.
    """
    low, high = fidelity["low"], fidelity["high"]
    if fidelity["continues"]:
        return {step: step for step in range(int(low), int(high) + 1)}
    return {27 // part: high / part for part in (27, 9, 3, 1) if high / part >= low}
