"""The checks of chapter 15: averaged gradients, a step of the ring, memory, a slow pair of processes, a prediction."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Number

AVERAGE, RING, MEMORY, LAW = "one-batch-two-processes", "all-reduce-by-hand", "what-must-fit", "a-law-from-small-runs"


def _shares(g):
    yield torch.tensor([[2.0, 0.0], [4.0, 1.0]]), torch.tensor([2, 2])
    yield torch.randn(3, 2, generator=g), torch.tensor([4, 0, 1])
    yield torch.randn(5, 7, generator=g), torch.randint(1, 9, (5,), generator=g)
    yield torch.randn(1, 3, generator=g), torch.tensor([6])


def _rings(g):
    yield torch.randint(100, (3, 3, 2), generator=g), 1
    for ranks, size, step in ((2, 3, 0), (3, 1, 0), (4, 2, 2), (5, 4, 3)):
        yield torch.randn(ranks, ranks, size, generator=g), step


def _models(g):
    for shard in ("nothing", "state", "all"):
        yield 101, 7, 4, shard
        yield 1, 0, 8, shard
        yield 64_880_640, 23_749_888, 8, shard


EXERCISES = {
    "15.1": Code(
        example=(torch.tensor([[1.0], [5.0]]), torch.tensor([3, 1])),
        cases=_shares,
        section=AVERAGE,
        edits="""
            mean of means:
            sums.sum(dim=0) / total ~> gradients.mean(dim=0)
            That is the plain mean over the ranks: right only where all have equally many rows. A row of a short share
            counts too much.

            ranks with rows:
            sums.sum(dim=0) / total ~> gradients[counts > 0].mean(dim=0)
            The ranks without rows are left out, and the others all count the same. A rank with three rows should count
            three times as much as one with one.

            sum:
            total = counts.sum() ~> total = 1
            That is the sum over all rows; the loss is a mean, so divide by their number.

            sum of means:
            sums.sum(dim=0) / total ~> gradients.sum(dim=0)
            The ranks' means are added up: with more ranks the gradient grows.

            by ranks:
            total = counts.sum() ~> total = len(counts)
            The sums are right, and are divided by the number of ranks. The mean is over rows.

            by parameters:
            total = counts.sum() ~> total = counts.sum() * gradients.shape[1]
            sums.sum(dim=0) / total ~> sums.mean() + 0 * gradients[0]
            The mean goes over the parameters too; each parameter has a gradient of its own.

            loudest:
            sums.sum(dim=0) / total ~> gradients[counts.argmax()]
            That is one rank's gradient. All rows should count.

            rank by rank:
            sums.sum(dim=0) ~> sums
            One row per rank is returned. All ranks' sums belong together.
        """,
    ),
    "15.2": Code(
        example=(torch.tensor([[[1.0], [2.0]], [[10.0], [20.0]]]), 0),
        cases=_rings,
        section=RING,
        edits="""
            same chunk each step:
            (rank - step) ~> (rank)
            Rank r sends chunk r in every step. It should pass on the chunk that it has just added to: r − step.

            wrong way around:
            (rank - step) ~> (rank + step)
            The chunk's number grows with the step. What a rank received last has a lower number than what it sent.

            one late:
            (rank - step) ~> (rank - step - 1)
            (rank - step) ~> (rank - step + 1)
            Off by one: in step 0 each rank sends the chunk with its own number.

            to the left:
            (rank + 1) % ranks ~> (rank - 1) % ranks
            The chunk went to the left neighbour; the right one is rank + 1.

            replaced:
            += ~> =
            What arrives replaces the neighbour's own chunk. It must be added, or the neighbour's contribution is lost.

            all chunks:
            after[(rank + 1) % ranks, c] += chunks[rank, c] ~> after[(rank + 1) % ranks] += chunks[rank]
            Everything is sent at once. A step sends one chunk from each rank, and that is what makes it cheap.

            emptied:
            return after ~> after[torch.arange(ranks), (torch.arange(ranks) - step) % ranks] -= \
            chunks[torch.arange(ranks), (torch.arange(ranks) - step) % ranks]\\nreturn after
            The sender gave its chunk away. It keeps what it has.

            no wrap:
            for rank in range(ranks): ~> for rank in range(ranks - 1):
            The last rank does not send. The ring is closed: its right neighbour is rank 0.

            renumbered:
            after[(rank + 1) % ranks, c] ~> after[(rank + 1) % ranks, (c + 1) % ranks]
            The chunk changes its number on the way. It is added to the neighbour's chunk of the same number.

            one rank:
            for rank in range(ranks): ~> for rank in range(1):
            Only one rank sends. All do, in every step.
        """,
    ),
    "15.3": Code(
        example=(100, 50, 4, "state"),
        cases=_models,
        section=MEMORY,
        edits="""
            AdamW for all:
            state = 4 * matrices + 8 * others ~> state = 8 * (matrices + others)
            Two numbers of state for every parameter, as if AdamW trained them all. Muon keeps one.

            Muon for all:
            state = 4 * matrices + 8 * others ~> state = 4 * (matrices + others)
            One number of state for every parameter. AdamW keeps two means for each of its own.

            swapped:
            state = 4 * matrices + 8 * others ~> state = 8 * matrices + 4 * others
            The two optimizers are exchanged: Muon keeps one number per parameter, AdamW two.

            no gradients:
            both = 8 * ~> both = 4 *
            Weights and gradients both have 4 bytes for each parameter; one of them is missing.

            no state:
            state = 4 * matrices + 8 * others ~> state = 0
            The optimizers' state is missing.

            rounded down:
            -(-(both + state) // ranks) ~> (both + state) // ranks && (-(-state // ranks) ~> (state // ranks
            (-(-state // ranks) ~> (state // ranks
            -(-(both + state) // ranks) ~> (both + state) // ranks
            A part is rounded down somewhere. R of these parts would not hold everything: round up.

            a fraction:
            -(-(both + state) // ranks) ~> (both + state) / ranks && (-(-state // ranks) ~> (state / ranks
            There is no fraction of a byte. The last part is padded, so round up, to an int.

            numbers:
            8 * (matrices ~> 2 * (matrices && 4 * matrices + 8 * others ~> matrices + 2 * others
            These are numbers; each has 4 bytes.

            not shared out:
            if shard == "all": ~> if False:
            With "all" nothing, or only the state, is divided. Weights and gradients are shared out there too.

            shared out twice:
            return both + ( ~> return -(-both // ranks) + (
            Weights and gradients are divided where only the state should be, or where nothing is.

            state whole:
            (-(-state // ranks) if shard == "state" else state) ~> state
            With "state" the state is shared out among the ranks.

            always shared:
            (-(-state // ranks) if shard == "state" else state) ~> -(-state // ranks)
            With "nothing" each device holds the whole state.
        """,
    ),
    "15.4": Choice(
        right="c",
        wrong={
            "a": "Then the two models would part, and the distance between their weights would grow from step 1 on.",
            "b": "A sum would keep the weights equal as well, but the ranks' losses come from different rows and would "
            "differ. Here they agree to the last digit, from step 0 on.",
            "d": "Rounding differences are far below the digits shown, and would not make the two losses equal.",
        },
        section=AVERAGE,
    ),
    "15.5": Number(
        value=6.068,
        within=0.004,
        wrong=[
            (5.0, 6.0, "That is below the entropy of the tokens, 6.066 nats: a law without a floor falls for ever."),
            (
                6.08,
                6.2,
                "That is about the loss at the largest budget you have; sixteen times as many tokens help more.",
            ),
            (0.3, 2.0, "That looks like one of the law's constants; asked for is the loss that it predicts."),
        ],
        section=LAW,
    ),
}
