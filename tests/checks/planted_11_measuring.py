"""Right and wrong answers to the exercises of chapter 11."""

import math
import statistics
from itertools import pairwise

import torch
from checks.planting import Planted, Wrong
from scipy.stats import ttest_ind

# --- written from the text alone, by someone who had not seen the checker


def wrong_1_ratio_of_medians(a, b, warmup):
    """Median of b over median of a (0.8 in the example)."""
    return statistics.median(b[warmup:]) / statistics.median(a[warmup:])


def wrong_1_upside_down(a, b, warmup):
    """a over b (1.8333 in the example)."""
    return statistics.median(x / y for x, y in zip(a[warmup:], b[warmup:], strict=False))


def wrong_1_lower_middle(a, b, warmup):
    """torch.median takes the lower of the two middle ones (0.5 in the example)."""
    return (torch.tensor(b[warmup:]) / torch.tensor(a[warmup:])).median().item()


def wrong_1_mean(a, b, warmup):
    """Mean for median (1.525 in the example)."""
    return statistics.mean(y / x for x, y in zip(a[warmup:], b[warmup:], strict=False))


def wrong_1_one_warmup_always(a, b, warmup):
    """Always leaves out one pair; passes the example."""
    return statistics.median(y / x for x, y in zip(a[1:], b[1:], strict=False))


def wrong_1_middle_of_unsorted(a, b, warmup):
    """Forgets to sort; passes the example by luck ((0.6 + 0.5) / 2)."""
    r = [y / x for x, y in zip(a[warmup:], b[warmup:], strict=False)]
    n = len(r)
    return r[n // 2] if n % 2 else (r[n // 2 - 1] + r[n // 2]) / 2


def wrong_1_deletes_from_the_lists(a, b, warmup):
    """Right value, but del on the caller's lists."""
    del a[:warmup]
    del b[:warmup]
    return statistics.median(y / x for x, y in zip(a, b, strict=False))


def correct_1_quantile(a, b, warmup):
    """Unusual but right: torch.quantile at 0.5 interpolates; returns a tensor with one entry."""
    x = torch.tensor(a, dtype=torch.float64)[warmup:]
    y = torch.tensor(b, dtype=torch.float64)[warmup:]
    return torch.quantile(y / x, 0.5)


def correct_1_peels_both_ends(a, b, warmup):
    """Unusual but right: takes the least and the greatest away until one or two are left."""
    r = [b[i] / a[i] for i in range(warmup, len(a))]
    while len(r) > 2:
        r.remove(min(r))
        r.remove(max(r))
    return sum(r) / len(r)


def wrong_2_never_synchronizes(device, steps, eval_every):
    """Takes the time of queueing for the time of the work."""
    device.rehearse()
    device.synchronize()
    total = 0.0
    for i in range(1, steps + 1):
        t0 = device.now()
        device.step()
        total += device.now() - t0
        if i % eval_every == 0:
            device.evaluate()
    return total


def wrong_2_evaluation_leaks_into_the_next_step(device, steps, eval_every):
    """Synchronizes after the step, but not after the evaluation."""
    device.rehearse()
    device.synchronize()
    total = 0.0
    for i in range(1, steps + 1):
        t0 = device.now()
        device.step()
        device.synchronize()
        total += device.now() - t0
        if i % eval_every == 0:
            device.evaluate()
    return total


def wrong_2_wall_time(device, steps, eval_every):
    """One clock around everything."""
    device.rehearse()
    device.synchronize()
    t0 = device.now()
    for i in range(1, steps + 1):
        device.step()
        if i % eval_every == 0:
            device.evaluate()
    device.synchronize()
    return device.now() - t0


def wrong_2_no_rehearsal(device, steps, eval_every):
    """Forgets rehearse."""
    device.synchronize()
    total = 0.0
    for i in range(1, steps + 1):
        t0 = device.now()
        device.step()
        device.synchronize()
        total += device.now() - t0
        if i % eval_every == 0:
            device.evaluate()
            device.synchronize()
    return total


def wrong_2_rehearsal_not_waited_for(device, steps, eval_every):
    """rehearse, but no synchronize before the first clock reading."""
    device.rehearse()
    total = 0.0
    for i in range(1, steps + 1):
        t0 = device.now()
        device.step()
        device.synchronize()
        total += device.now() - t0
        if i % eval_every == 0:
            device.evaluate()
            device.synchronize()
    return total


def wrong_2_evaluates_from_step_zero(device, steps, eval_every):
    """Counts from 0 with i % eval_every: evaluates after the first step."""
    device.rehearse()
    device.synchronize()
    total = 0.0
    for i in range(steps):
        t0 = device.now()
        device.step()
        device.synchronize()
        total += device.now() - t0
        if i % eval_every == 0:
            device.evaluate()
            device.synchronize()
    return total


def wrong_2_leaves_the_first_step_out(device, steps, eval_every):
    """Takes a real first step as warmup instead of rehearsing."""
    device.step()
    device.synchronize()
    total = 0.0
    if eval_every == 1:
        device.evaluate()
        device.synchronize()
    for i in range(2, steps + 1):
        t0 = device.now()
        device.step()
        device.synchronize()
        total += device.now() - t0
        if i % eval_every == 0:
            device.evaluate()
            device.synchronize()
    return total


def wrong_2_counts_only_full_stretches(device, steps, eval_every):
    """Adds up from evaluation to evaluation, forgets the steps after the last one."""
    device.rehearse()
    device.synchronize()
    total = 0.0
    t0 = device.now()
    for i in range(1, steps + 1):
        device.step()
        if i % eval_every == 0:
            device.synchronize()
            total += device.now() - t0
            device.evaluate()
            device.synchronize()
            t0 = device.now()
    device.synchronize()
    return total


def wrong_2_all_evaluations_at_the_end(device, steps, eval_every):
    """Trains in one go and evaluates afterwards; right seconds and right counts."""
    device.rehearse()
    device.synchronize()
    t0 = device.now()
    for _ in range(steps):
        device.step()
    device.synchronize()
    total = device.now() - t0
    for _ in range(steps // eval_every):
        device.evaluate()
    device.synchronize()
    return total


def correct_2_whole_minus_evaluations(device, steps, eval_every):
    """Unusual but right: one clock around all, and the evaluations, timed between two synchronizes, taken off."""
    device.rehearse()
    device.synchronize()
    begin = device.now()
    evaluating = 0.0
    for i in range(steps):
        device.step()
        if (i + 1) % eval_every == 0:
            device.synchronize()
            t = device.now()
            device.evaluate()
            device.synchronize()
            evaluating += device.now() - t
    device.synchronize()
    return device.now() - begin - evaluating


def correct_2_stretches(device, steps, eval_every):
    """Unusual but right: whole stretches between evaluations queued at once, the rest at the end; as a tensor."""
    device.rehearse()
    seconds, left = [0.0], steps
    while left > 0:
        n = min(eval_every, left)
        device.synchronize()
        t = -device.now()
        for _ in range(n):
            device.step()
        device.synchronize()
        device.synchronize()
        seconds.append(t + device.now())
        if n == eval_every:
            device.evaluate()
        left -= n
    device.synchronize()
    return torch.tensor([math.fsum(seconds)], dtype=torch.float64)


def wrong_3_population_variance(a, b):
    """Divides by n (pvariance)."""
    ea, eb = statistics.pvariance(a) / len(a), statistics.pvariance(b) / len(b)
    t = (statistics.mean(a) - statistics.mean(b)) / math.sqrt(ea + eb)
    return t, (ea + eb) ** 2 / (ea**2 / (len(a) - 1) + eb**2 / (len(b) - 1))


def wrong_3_student_degrees(a, b):
    """Degrees of freedom of Student's test."""
    ea, eb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    return (statistics.mean(a) - statistics.mean(b)) / math.sqrt(ea + eb), len(a) + len(b) - 2


def wrong_3_other_sign(a, b):
    """Second minus first."""
    ea, eb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    t = (statistics.mean(b) - statistics.mean(a)) / math.sqrt(ea + eb)
    return t, (ea + eb) ** 2 / (ea**2 / (len(a) - 1) + eb**2 / (len(b) - 1))


def wrong_3_forgets_the_count(a, b):
    """Takes s^2 for e^2."""
    ea, eb = statistics.variance(a), statistics.variance(b)
    t = (statistics.mean(a) - statistics.mean(b)) / math.sqrt(ea + eb)
    return t, (ea + eb) ** 2 / (ea**2 / (len(a) - 1) + eb**2 / (len(b) - 1))


def wrong_3_absolute_value(a, b):
    """Takes |t|; passes the example."""
    ea, eb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    t = abs(statistics.mean(a) - statistics.mean(b)) / math.sqrt(ea + eb)
    return t, (ea + eb) ** 2 / (ea**2 / (len(a) - 1) + eb**2 / (len(b) - 1))


def wrong_3_rounded_degrees(a, b):
    """Rounds df down, as for a printed table."""
    ea, eb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    t = (statistics.mean(a) - statistics.mean(b)) / math.sqrt(ea + eb)
    return t, math.floor((ea + eb) ** 2 / (ea**2 / (len(a) - 1) + eb**2 / (len(b) - 1)))


def wrong_3_e_not_squared_in_df(a, b):
    """Takes the e^2 of the denominator of df for already squared."""
    ea, eb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    t = (statistics.mean(a) - statistics.mean(b)) / math.sqrt(ea + eb)
    return t, (ea + eb) ** 2 / (ea / (len(a) - 1) + eb / (len(b) - 1))


def wrong_3_pooled(a, b):
    """Student's t with the pooled variance."""
    na, nb = len(a), len(b)
    s2 = ((na - 1) * statistics.variance(a) + (nb - 1) * statistics.variance(b)) / (na + nb - 2)
    return (statistics.mean(a) - statistics.mean(b)) / math.sqrt(s2 * (1 / na + 1 / nb)), na + nb - 2


def correct_3_torch_var_mean(a, b):
    """Unusual but right: torch.var_mean in float64; one-entry tensors."""
    va, ma = torch.var_mean(torch.tensor(a, dtype=torch.float64))
    vb, mb = torch.var_mean(torch.tensor(b, dtype=torch.float64))
    e = torch.stack([va / len(a), vb / len(b)])
    below = (e**2 / torch.tensor([len(a) - 1.0, len(b) - 1.0], dtype=torch.float64)).sum()
    return (ma - mb) / e.sum().sqrt(), e.sum() ** 2 / below


def correct_3_pairwise_differences(a, b):
    """Unusual but right: variance from all pairwise differences; df by the share of e^2 (no division by a zero e^2)."""

    def e2(x):
        n = len(x)
        return sum((p - q) ** 2 for p in x for q in x) / (2 * n * (n - 1)) / n

    ea, eb = e2(a), e2(b)
    share = ea / (ea + eb)
    df = 1 / (share**2 / (len(a) - 1) + (1 - share) ** 2 / (len(b) - 1))
    t = (math.fsum(a) / len(a) - math.fsum(b) / len(b)) / math.hypot(math.sqrt(ea), math.sqrt(eb))
    return t, df


def wrong_4_two_sided(effect, spread, alpha=0.01, power=0.9):
    """Halves alpha."""
    z = statistics.NormalDist().inv_cdf
    return max(2, math.ceil(2 * ((z(1 - alpha / 2) + z(power)) * spread / effect) ** 2))


def wrong_4_rounds_to_nearest(effect, spread, alpha=0.01, power=0.9):
    """round for ceil; passes the first example."""
    z = statistics.NormalDist().inv_cdf
    return max(2, round(2 * ((z(1 - alpha) + z(power)) * spread / effect) ** 2))


def wrong_4_without_the_two(effect, spread, alpha=0.01, power=0.9):
    """Forgets that both arms spread."""
    z = statistics.NormalDist().inv_cdf
    return max(2, math.ceil(((z(1 - alpha) + z(power)) * spread / effect) ** 2))


def wrong_4_one_seed(effect, spread, alpha=0.01, power=0.9):
    """No lower bound."""
    z = statistics.NormalDist().inv_cdf
    return math.ceil(2 * ((z(1 - alpha) + z(power)) * spread / effect) ** 2)


def wrong_4_both_arms_together(effect, spread, alpha=0.01, power=0.9):
    """Returns the runs of both arms."""
    z = statistics.NormalDist().inv_cdf
    n = max(2, math.ceil(2 * ((z(1 - alpha) + z(power)) * spread / effect) ** 2))
    return 2 * n


def wrong_4_power_ignored(effect, spread, alpha=0.01, power=0.9):
    """Uses z(1 - alpha) alone: a difference that is just significant."""
    z = statistics.NormalDist().inv_cdf
    return max(2, math.ceil(2 * (z(1 - alpha) * spread / effect) ** 2))


def wrong_4_z_by_heart(effect, spread, alpha=0.01, power=0.9):
    """Constants 2.326 and 1.282 for the defaults; right in the first and third example."""
    return max(2, math.ceil(2 * ((2.3263 + 1.2816) * spread / effect) ** 2))


def wrong_4_square_on_the_spread_only(effect, spread, alpha=0.01, power=0.9):
    """Squares only the last factor."""
    z = statistics.NormalDist().inv_cdf
    return max(2, math.ceil(2 * (z(1 - alpha) + z(power)) * (spread / effect) ** 2))


def wrong_4_float(effect, spread, alpha=0.01, power=0.9):
    """Right value, but a float (torch.ceil, item)."""
    z = statistics.NormalDist().inv_cdf
    n = torch.tensor(2 * ((z(1 - alpha) + z(power)) * spread / effect) ** 2, dtype=torch.float64)
    return torch.ceil(n).clamp(min=2).item()


def correct_4_counts_up(effect, spread, alpha=0.01, power=0.9):
    """Unusual but right: raises n from 2 until the power is reached (the same condition, turned round)."""
    z = statistics.NormalDist().inv_cdf
    need = 2 * ((z(1 - alpha) + z(power)) * spread / effect) ** 2
    n = 2
    while n < need:
        n += 1
    return n


def correct_4_negative_floor(effect, spread, alpha=0.01, power=0.9):
    """Unusual but right: spread put into the NormalDist itself (z's scale with it), ceil as minus floor of minus."""
    d = statistics.NormalDist(0.0, spread)
    s = d.inv_cdf(1.0 - alpha) + d.inv_cdf(power)
    return -min(-2, math.floor(-2.0 * s * s / effect / effect))


def wrong_5_off_one_way_only(record):
    """No absolute value; passes the example."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if record["tokens_per_second"] - rate > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        out.add("order")
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_exact_rate(record):
    """Asks for exact equality of the rate; passes the example."""
    out = set()
    if record["tokens_per_second"] != record["tokens"] / record["active_seconds"]:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        out.add("order")
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_peak_without_the_margin(record):
    """Compares with peak_flops itself; passes the example."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        out.add("order")
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_equal_is_a_fault(record):
    """<= for <; passes the example."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if any(q[0] <= p[0] or q[1] <= p[1] for p, q in pairwise(c)):
        out.add("order")
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_order_by_sorting_triples(record):
    """curve == sorted(curve) compares triples: tokens first, the seconds only where tokens are equal."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if c != sorted(c):
        out.add("order")
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_rising_loss_is_a_fault(record):
    """Wants the loss to fall. Passes the example."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] or q[2] > p[2] for p, q in pairwise(c)):
        out.add("order")
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_end_needs_both(record):
    """and for or at the end."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        out.add("order")
    if c[-1][0] != record["tokens"] and c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_best_loss_of_the_curve(record):
    """Takes val_loss for the curve's least; passes the example."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        out.add("order")
    if c[-1][0] != record["tokens"] or min(x[2] for x in c) != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_first_against_last(record):
    """Compares the first and the last triple only; passes the example."""
    out = set()
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    c = record["curve"]
    if c[-1][0] < c[0][0] or c[-1][1] < c[0][1]:
        out.add("order")
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out.add("end")
    return out


def wrong_5_one_fault_only(record):
    """elif chain: gives back the first fault."""
    rate = record["tokens"] / record["active_seconds"]
    c = record["curve"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        return {"rate"}
    elif record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        return {"peak"}
    elif any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        return {"order"}
    elif c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        return {"end"}
    return set()


def wrong_5_empty_dict(record):
    """Begins with {} and ends up with a dict; a record without a fault gives {}."""
    out = {}
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out["rate"] = True
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out["peak"] = True
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        out["order"] = True
    if c[-1][0] != record["tokens"] or c[-1][2] != record["val_loss"]:
        out["end"] = True
    return out


def wrong_5_pops_the_last(record):
    """Right set, but curve.pop()."""
    out = set()
    c = record["curve"]
    if any(q[0] < p[0] or q[1] < p[1] for p, q in pairwise(c)):
        out.add("order")
    tokens, _, loss = c.pop()
    if tokens != record["tokens"] or loss != record["val_loss"]:
        out.add("end")
    rate = record["tokens"] / record["active_seconds"]
    if abs(record["tokens_per_second"] - rate) > 0.001 * rate:
        out.add("rate")
    if record["flops"] / record["active_seconds"] > 1.2 * record["peak_flops"]:
        out.add("peak")
    return out


def correct_5_multiplied_out(record):
    """Unusual but right: no division, and the columns against their sorted copies."""
    s = record["active_seconds"]
    tokens, seconds, losses = (list(col) for col in zip(*record["curve"], strict=False))
    verdict = {
        "rate": not 0.999 * record["tokens"] <= record["tokens_per_second"] * s <= 1.001 * record["tokens"],
        "peak": record["flops"] > 1.2 * record["peak_flops"] * s,
        "order": tokens != sorted(tokens) or seconds != sorted(seconds),
        "end": [tokens.pop(), losses.pop()] != [record["tokens"], record["val_loss"]],
    }
    return {name for name, bad in verdict.items() if bad}


def correct_5_takes_away_from_all(record):
    """Unusual but right: begins with all four faults and discards what agrees; torch.diff for the order."""
    out = {"rate", "peak", "order", "end"}
    true_rate = record["tokens"] / record["active_seconds"]
    if math.isclose(record["tokens_per_second"] / true_rate, 1.0, rel_tol=0.0, abs_tol=1e-3):
        out.discard("rate")
    if record["flops"] / record["active_seconds"] <= 1.2 * record["peak_flops"]:
        out.discard("peak")
    path = torch.tensor([row[:2] for row in record["curve"]], dtype=torch.float64)
    if bool((path.diff(dim=0) >= 0).all()):
        out.discard("order")
    *_, (tokens, _, loss) = record["curve"]
    if (tokens, loss) == (record["tokens"], record["val_loss"]):
        out -= {"end"}
    return out


# --- 11.1, written beside the checker


def ratio_by_statistics(a, b, warmup):
    return statistics.median(b[i] / a[i] for i in range(warmup, len(a)))


def ratio_all_of_them(a, b, warmup):
    return [y / x for x, y in zip(a[warmup:], b[warmup:], strict=True)]


# --- 11.2


def clock_in_rounds(device, steps, eval_every):
    device.rehearse()
    device.synchronize()
    total, done = 0.0, 0
    while done < steps:
        start, count = device.now(), min(eval_every, steps - done)
        for _ in range(count):
            device.step()
        device.synchronize()
        total, done = total + device.now() - start, done + count
        if count == eval_every:
            device.evaluate()
            device.synchronize()
    return total


def clock_subtracting(device, steps, eval_every):
    def spent(work):
        device.synchronize()
        start = device.now()
        work()
        device.synchronize()
        return device.now() - start

    spent(device.rehearse)
    begin, evaluations = device.now(), 0.0
    for i in range(steps):
        device.step()
        if (i + 1) % eval_every == 0:
            evaluations += spent(device.evaluate)
    device.synchronize()
    return device.now() - begin - evaluations


def clock_without_rehearsal(device, steps, eval_every):
    total = 0.0
    for i in range(steps):
        start = device.now()
        device.step()
        device.synchronize()
        total += device.now() - start
        if (i + 1) % eval_every == 0:
            device.evaluate()
            device.synchronize()
    return total


def clock_warmed_by_a_step(device, steps, eval_every):
    device.rehearse()
    device.step()
    device.synchronize()
    return clock_without_rehearsal(device, steps, eval_every)


def clock_evaluating_before_the_step(device, steps, eval_every):
    device.rehearse()
    device.synchronize()
    total = 0.0
    for i in range(steps):
        if i % eval_every == 0:
            device.evaluate()
            device.synchronize()
        start = device.now()
        device.step()
        device.synchronize()
        total += device.now() - start
    return total


def clock_that_skips_evaluation(device, steps, eval_every):
    device.rehearse()
    device.synchronize()
    start = device.now()
    for _ in range(steps):
        device.step()
    device.synchronize()
    return device.now() - start


def clock_that_rehearses_each_time(device, steps, eval_every):
    total = 0.0
    for i in range(steps):
        device.rehearse()
        device.synchronize()
        start = device.now()
        device.step()
        device.synchronize()
        total += device.now() - start
        if (i + 1) % eval_every == 0:
            device.evaluate()
            device.synchronize()
    return total


# --- 11.3


def welch_by_torch(a, b):
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
    u, v = a.var() / len(a), b.var() / len(b)
    return (a.mean() - b.mean()) / (u + v).sqrt(), (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))


def welch_by_statistics(a, b):
    (ma, ea, na), (mb, eb, nb) = ((statistics.mean(x), statistics.variance(x) / len(x), len(x)) for x in (a, b))
    return (ma - mb) / math.sqrt(ea + eb), 1 / ((ea / (ea + eb)) ** 2 / (na - 1) + (eb / (ea + eb)) ** 2 / (nb - 1))


def welch_t_alone(a, b):
    return welch_by_statistics(a, b)[0]


def welch_by_scipy(a, b):
    found = ttest_ind(a, b, equal_var=False)
    return float(found.statistic), float(found.df)


# --- 11.4


def _normal(q):
    return statistics.NormalDist().inv_cdf(q)


def seeds_by_loop(effect, spread, alpha=0.01, power=0.9):
    n = 2
    while effect / (spread * math.sqrt(2 / n)) < _normal(1 - alpha) + _normal(power):
        n += 1
    return n


def seeds_by_symmetry(effect, spread, alpha=0.01, power=0.9):
    n = math.ceil(2 * ((_normal(power) - _normal(alpha)) / (effect / spread)) ** 2)
    return n if n > 2 else 2


# --- 11.5


def disagreements_by_table(record):
    tokens, seconds = record["tokens"], record["active_seconds"]
    columns = list(zip(*record["curve"], strict=True))
    checks = {
        "rate": not math.isclose(record["tokens_per_second"] * seconds / tokens, 1, abs_tol=1e-3),
        "peak": record["flops"] > 1.2 * record["peak_flops"] * seconds,
        "order": any(list(column) != sorted(column) for column in columns[:2]),
        "end": (columns[0][-1], columns[2][-1]) != (tokens, record["val_loss"]),
    }
    return {name for name, wrong in checks.items() if wrong}


def disagreements_by_subtraction(record):
    names = {"rate", "peak", "order", "end"}
    rate, curve = record["tokens"] / record["active_seconds"], record["curve"]
    if 0.999 * rate <= record["tokens_per_second"] <= 1.001 * rate:
        names.remove("rate")
    if record["flops"] / record["active_seconds"] <= 1.2 * record["peak_flops"]:
        names.remove("peak")
    if all(curve[i][j] <= curve[i + 1][j] for i in range(len(curve) - 1) for j in (0, 1)):
        names.remove("order")
    if curve[-1][0] == record["tokens"] and curve[-1][2] == record["val_loss"]:
        names.remove("end")
    return names


PLANTED = {
    "11.1": Planted(
        correct=[correct_1_quantile, correct_1_peels_both_ends, ratio_by_statistics],
        wrong=[
            Wrong(wrong_1_ratio_of_medians, "ratio of medians", from_text=True),
            Wrong(wrong_1_upside_down, "a over b", from_text=True),
            Wrong(wrong_1_lower_middle, "lower middle", from_text=True),
            Wrong(wrong_1_mean, "mean of ratios", from_text=True),
            Wrong(wrong_1_one_warmup_always, "warm-up of one", from_text=True),
            Wrong(wrong_1_middle_of_unsorted, "not sorted", from_text=True),
            Wrong(wrong_1_deletes_from_the_lists, "mutated", from_text=True),
            Wrong(ratio_all_of_them, "type"),
        ],
    ),
    "11.2": Planted(
        correct=[correct_2_whole_minus_evaluations, correct_2_stretches, clock_in_rounds, clock_subtracting],
        wrong=[
            Wrong(wrong_2_never_synchronizes, "never waited", from_text=True),
            Wrong(wrong_2_evaluation_leaks_into_the_next_step, "evaluation not awaited", from_text=True),
            Wrong(wrong_2_wall_time, "evaluation counted", from_text=True),
            Wrong(wrong_2_no_rehearsal, "not rehearsed", from_text=True),
            Wrong(wrong_2_rehearsal_not_waited_for, "rehearsal not awaited", from_text=True),
            Wrong(wrong_2_evaluates_from_step_zero, "property:evaluations", from_text=True),
            Wrong(wrong_2_leaves_the_first_step_out, "first step left out", from_text=True),
            Wrong(wrong_2_counts_only_full_stretches, "steps after evaluations lost", from_text=True),
            Wrong(wrong_2_all_evaluations_at_the_end, "property:evaluations", from_text=True),
            Wrong(clock_warmed_by_a_step, "property:evaluations"),
            Wrong(clock_evaluating_before_the_step, "property:evaluations"),
            Wrong(clock_that_skips_evaluation, "property:evaluations"),
            Wrong(clock_that_rehearses_each_time, "property:evaluations"),
        ],
    ),
    "11.3": Planted(
        correct=[correct_3_torch_var_mean, correct_3_pairwise_differences, welch_by_torch, welch_by_statistics],
        wrong=[
            Wrong(wrong_3_population_variance, "divided by n", from_text=True),
            Wrong(wrong_3_student_degrees, "pooled degrees", from_text=True),
            Wrong(wrong_3_other_sign, "reversed", from_text=True),
            Wrong(wrong_3_forgets_the_count, "spread of single runs", from_text=True),
            Wrong(wrong_3_absolute_value, "unsigned", from_text=True),
            Wrong(wrong_3_rounded_degrees, "rounded", from_text=True),
            Wrong(wrong_3_e_not_squared_in_df, "errors unsquared", from_text=True),
            Wrong(wrong_3_pooled, "pooled", from_text=True),
            Wrong(welch_t_alone, "type"),
            Wrong(welch_by_scipy, "library"),
        ],
    ),
    "11.4": Planted(
        correct=[correct_4_counts_up, correct_4_negative_floor, seeds_by_loop, seeds_by_symmetry],
        wrong=[
            Wrong(wrong_4_two_sided, "two-sided", from_text=True),
            Wrong(wrong_4_rounds_to_nearest, "to the nearest", from_text=True),
            Wrong(wrong_4_without_the_two, "one noisy arm", from_text=True),
            Wrong(wrong_4_one_seed, "one run", from_text=True),
            Wrong(wrong_4_both_arms_together, "both arms together", from_text=True),
            Wrong(wrong_4_power_ignored, "no power", from_text=True),
            Wrong(wrong_4_z_by_heart, "both fixed", from_text=True),
            Wrong(wrong_4_square_on_the_spread_only, "z not squared", from_text=True),
            Wrong(wrong_4_float, "property:an int", from_text=True),
        ],
    ),
    "11.5": Planted(
        correct=[
            correct_5_multiplied_out,
            correct_5_takes_away_from_all,
            disagreements_by_table,
            disagreements_by_subtraction,
        ],
        wrong=[
            Wrong(wrong_5_off_one_way_only, "rate one way", from_text=True),
            Wrong(wrong_5_exact_rate, "rate to the digit", from_text=True),
            Wrong(wrong_5_peak_without_the_margin, "no slack", from_text=True),
            Wrong(wrong_5_equal_is_a_fault, "equal refused", from_text=True),
            Wrong(wrong_5_order_by_sorting_triples, "seconds not ordered", from_text=True),
            Wrong(wrong_5_rising_loss_is_a_fault, "loss must fall", from_text=True),
            Wrong(wrong_5_end_needs_both, "both at the end", from_text=True),
            Wrong(wrong_5_best_loss_of_the_curve, "lowest loss", from_text=True),
            Wrong(wrong_5_first_against_last, "ends compared", from_text=True),
            Wrong(wrong_5_one_fault_only, "first fault only", from_text=True),
            Wrong(wrong_5_empty_dict, "not a set", from_text=True),
            Wrong(wrong_5_pops_the_last, "mutated", from_text=True),
        ],
    ),
    "11.6": Planted(
        correct=["C", "(c)"],
        wrong=[
            Wrong("a", "a", from_text=True),
            Wrong("b", "b", from_text=True),
            Wrong("d", "d", from_text=True),
            Wrong("bc", "type", from_text=True),
        ],
    ),
}
