"""A device whose time is made up, on which a clock is tried (chapter 11)."""


class FakeDevice:
    """A device that only pretends: its work is queued, and its seconds pass when somebody waits for them.

    ``costs`` are the seconds of its steps, one after another and then again from the first; ``evaluation`` those of an
    evaluation; ``compiling`` those of the first step, if nothing was rehearsed. ``calls`` lists what was asked of it.
    """

    def __init__(self, costs: list[float], evaluation: float = 5.0, compiling: float = 30.0) -> None:
        self.costs, self.evaluation, self.compiling = costs, evaluation, compiling
        self.calls: list[str] = []
        self._time, self._queued, self._steps, self._compiled = 1000.0, 0.0, 0, False

    def __repr__(self) -> str:
        return f"FakeDevice({self.costs}, evaluation={self.evaluation}, compiling={self.compiling})"

    def _compile(self) -> None:
        if not self._compiled:
            self._time, self._compiled = self._time + self.compiling, True

    def now(self) -> float:
        """Its time, in seconds."""
        return self._time

    def step(self) -> None:
        """Queue a training step."""
        self.calls.append("step")
        self._compile()
        self._queued += self.costs[self._steps % len(self.costs)]
        self._steps += 1

    def evaluate(self) -> None:
        """Queue an evaluation."""
        self.calls.append("evaluate")
        self._queued += self.evaluation

    def rehearse(self) -> None:
        """Compile, and queue a step and an evaluation on dummy data."""
        self.calls.append("rehearse")
        self._compile()
        self._queued += self.costs[0] + self.evaluation

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        self._time, self._queued = self._time + self._queued, 0.0
