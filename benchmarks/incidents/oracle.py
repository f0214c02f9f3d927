"""How near to the truth can anybody come on the worlds of `worlds`? A Bayes oracle that knows how they are made.

It knows every distribution, no seed and no answer, and applies Bayes' rule. `fair` holds a start anywhere in the eight days
before the alert and decoys of every kind; `prior` has the same exact likelihoods under a prior of 0.70 for chance. Not
exact: nuisance effects by Laplace at the null fit (ramps to second order), sessions as noise, category shares plugged in for
the mix, working hours not used.
"""

# ruff: noqa: B023, E731, E741, RUF046
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import logsumexp, ndtr

DAY, H = 86400.0, 3600.0
LO, STEP = -2.0, 0.01
MG = np.arange(LO, 8.0, STEP)  # grid of latent means
NEG = -60.0


class Table:
    """log P(score | mean) with gradient and information on a grid of means."""

    def __init__(self, p):  # 5 x grid
        p = np.maximum(p, 1e-12)
        p /= p.sum(0)
        self.l = np.log(p)
        self.g = np.gradient(self.l, STEP, axis=1)
        self.i = np.maximum((p * self.g**2).sum(0), 1e-4)

    @staticmethod
    def at(m):
        return np.clip(np.rint((m - LO) / STEP).astype(int), 0, len(MG) - 1)


def score_table(cdf):
    e = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    c = np.array([cdf(x - MG) if np.isfinite(x) else np.full(len(MG), float(x > 0)) for x in e])
    return Table(np.diff(c, axis=0))


def review_table(q_draws, w, judge_sd, p_bad, bias):
    """P(found bad | score k, mean, bias): k x grid (coarse grid, interpolated)."""
    mc = np.arange(LO, 8.0, 0.05)
    q = mc[:, None] + q_draws[None]
    e = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    pb = p_bad(q)
    out = []
    for k in range(5):
        pk = (ndtr((e[k + 1] - q + bias) / judge_sd) - ndtr((e[k] - q + bias) / judge_sd)) * w
        out.append(np.interp(MG, mc, (pk * pb).sum(1) / np.maximum(pk.sum(1), 1e-300)))
    return np.clip(np.array(out), 1e-4, 1 - 1e-4)


class Fit:
    """Ordinal mixed model on (leaf, day) cells under 'nothing changed'."""

    def __init__(self, table, leaf, day, k, B, sd, day_prec, offset, leaf_f=None, fday_sd=None):
        L, D, p = len(B), len(offset), B.shape[1]
        n = np.zeros((5, L, D))
        np.add.at(n, (k, leaf, day), 1)
        tot = n.sum(0)
        nf = 0 if fday_sd is None else int(leaf_f.max()) + 1
        K = p + D + nf * D
        P = np.zeros((K, K))
        P[:p, :p] = np.diag(1 / sd**2)
        P[p : p + D, p : p + D] = day_prec
        if nf:
            P[p + D :, p + D :] = np.eye(nf * D) / fday_sd**2
        F1 = np.eye(nf)[leaf_f] if nf else None
        b = np.zeros(K)
        mean = lambda b: (
            offset[None] + (B @ b[:p])[:, None] + b[p : p + D][None] + (b[p + D :].reshape(nf, D)[leaf_f] if nf else 0)
        )
        for _ in range(8):
            m = mean(b)
            j = Table.at(m)
            g = sum(n[s] * table.g[s][j] for s in range(5))
            W = tot * table.i[j]
            A = P.copy()
            A[:p, :p] += B.T @ (B * W.sum(1)[:, None])
            A[:p, p : p + D] += B.T @ W
            A[p : p + D, p : p + D] += np.diag(W.sum(0))
            r = np.concatenate([B.T @ g.sum(1), g.sum(0)] + ([(F1.T @ g).ravel()] if nf else []))
            if nf:
                WF = F1.T @ W
                BF = np.einsum("lp,lf,ld->pfd", B, F1, W, optimize=True).reshape(p, -1)
                A[:p, p + D :] += BF
                for f in range(nf):
                    A[p : p + D, p + D + f * D : p + D + (f + 1) * D] += np.diag(WF[f])
                A[p + D :, p + D :] += np.diag(WF.ravel())
            A = np.triu(A) + np.triu(A, 1).T
            stepv = np.linalg.solve(A, r - P @ b)
            b = b + stepv
            if np.abs(stepv).max() < 1e-3:
                break
        self.m, self.b, self.C, self.p, self.D, self.nf, self.B, self.leaf_f, self.F1 = (
            mean(b),
            b,
            np.linalg.inv(A),
            p,
            D,
            nf,
            B,
            leaf_f,
            F1,
        )
        j = Table.at(self.m)
        ll = sum((n[s] * table.l[s][j]).sum() for s in range(5))
        self.log_ml = ll - 0.5 * b @ P @ b + 0.5 * np.linalg.slogdet(P)[1] - 0.5 * np.linalg.slogdet(A)[1]

    def adjust(self, G, masks):
        """0.5 r' A^-1 r for gradient changes G (leaf x day), every mask (A x L)."""
        dd = np.flatnonzero(np.abs(G).sum(0))
        g = G[:, dd]
        parts = [masks @ (G.sum(1)[:, None] * self.B), masks @ g]
        cols = [np.arange(self.p), self.p + dd]
        if self.nf:
            parts += [masks @ (self.F1[:, f][:, None] * g) for f in range(self.nf)]
            cols += [self.p + self.D + f * self.D + dd for f in range(self.nf)]
        r = np.concatenate(parts, 1)
        c = np.concatenate(cols)
        return 0.5 * ((r @ self.C[np.ix_(c, c)]) * r).sum(1)


class Evidence:
    """log BF of a shift: D[size][mask, time] for steps and ramps at `times`, and `rows(...)` for exposures row by row."""

    def __init__(self, fit, table, masks, times, leaf, day, t, k, sizes, extra=None, ramp_days=(), ramp_mult=1.0):
        self.f, self.tb, self.masks, self.times, self.leaf, self.day, self.t, self.k = (
            fit,
            table,
            masks.astype(float),
            times,
            leaf,
            day,
            t,
            k,
        )
        self.L, self.D, self.sizes, self.extra = len(fit.m), fit.D, sizes, extra
        self.j = Table.at(fit.m[leaf, day])
        self.l0, self.g0, self.w0 = table.l[k, self.j], table.g[k, self.j], table.i[self.j]
        self.delta = {s: self._row(s) for s in sizes}
        span = np.searchsorted(times, t, side="right")
        T = len(times)
        self.step = {}
        for s in sizes:
            d, g = self.delta[s]
            out = np.zeros((len(masks), T))
            for i in range(T):
                on = span > i
                out[:, i] = self._sum(d, g, on)
            self.step[s] = out
        self.ramp = {}
        for rd in ramp_days:
            for s in sizes:
                out = np.zeros((len(masks), T))
                for i in range(T):
                    x = s * ramp_mult * np.clip((t - times[i]) / (rd * DAY), 0, 1)
                    on = x > 0
                    out[:, i] = self._sum(-x * self.g0 - 0.5 * x**2 * self.w0, x * self.w0, on)
                self.ramp[rd, s] = out
        if extra is not None:  # requests: signals; reviews: function(size, on or dose) -> leaf sums
            for s in sizes:
                self.step[s] += self.masks @ extra.steps(s, times)
                for rd in ramp_days:
                    self.ramp[rd, s] += self.masks @ extra.ramps(s * ramp_mult, times, rd)

    def _row(self, s):
        j2 = np.clip(self.j - int(round(s / STEP)), 0, len(MG) - 1)
        return self.tb.l[self.k, j2] - self.l0, self.tb.g[self.k, j2] - self.g0

    def _sum(self, d, g, on):
        l, dy = self.leaf[on], self.day[on]
        G = np.bincount(l * self.D + dy, g[on], self.L * self.D).reshape(self.L, self.D)
        return self.masks @ np.bincount(l, d[on], self.L) + self.f.adjust(G, self.masks)

    def rows(self, s, on):
        return self._sum(*self.delta[s], on)


class Extra:
    """Signals of all requests and reviews: sums by leaf of log-likelihood differences, steps and ramps (second order by small table)."""

    def __init__(self, L, leaf, t, likelihood):  # likelihood(size array or scalar) -> difference per row
        self.L, self.leaf, self.t, self.likelihood = L, leaf, t, likelihood

    def steps(self, s, times):
        d = self.likelihood(np.full(len(self.t), s))
        b = np.searchsorted(times, self.t, side="right")
        S = np.bincount(self.leaf * (len(times) + 1) + b, d, self.L * (len(times) + 1)).reshape(self.L, -1)
        return S[:, ::-1].cumsum(1)[:, ::-1][:, 1:]

    def ramps(self, s, times, rd):
        a = (self.likelihood(np.full(len(self.t), 0.3)), self.likelihood(np.full(len(self.t), 0.6)))
        q = (a[1] - 2 * a[0]) / 0.18
        lin = (a[0] - 0.09 * q) / 0.3
        out = np.zeros((self.L, len(times)))
        for i, t0 in enumerate(times):
            x = s * np.clip((self.t - t0) / (rd * DAY), 0, 1)
            on = x > 0
            out[:, i] = np.bincount(self.leaf[on], lin[on] * x[on] + q[on] * x[on] ** 2, self.L)
        return out

    def rows(self, s, on):
        return np.bincount(self.leaf[on], self.likelihood(np.full(on.sum(), s), on), self.L)


class Sum:
    def __init__(self, *parts):
        self.parts = parts

    def steps(self, *a):
        return sum(p.steps(*a) for p in self.parts)

    def ramps(self, *a):
        return sum(p.ramps(*a) for p in self.parts)


lme = lambda x, axis=None, b=None: logsumexp(x, axis=axis) - np.log(np.size(x) if axis is None else x.shape[axis])


class Belief:
    """Collects (cause, log weight, slice index, time) and gives the answers."""

    def __init__(self):
        self.rows = []

    def add(self, cause, logw, sl=None, at=None):
        self.rows.append((cause, float(logw), sl, at))

    def add_grid(self, cause, logw, slices, times):  # logw: slices x times
        z = logsumexp(logw)
        top = np.argsort(-logw, axis=None)[:400]
        keep = logw.ravel()[top]
        keep = keep - logsumexp(keep) + z
        for w, q in zip(keep, top):
            a, b = np.unravel_index(q, logw.shape)
            self.rows.append((cause, float(w), slices[a], times[b]))

    def answer(self, masks, size):
        w = np.array([r[1] for r in self.rows])
        w = np.exp(w - logsumexp(w))
        by = {}
        for r, p in zip(self.rows, w):
            by[r[0]] = by.get(r[0], 0) + p
        rank = sorted(by.items(), key=lambda x: -x[1])
        sl = np.zeros(len(masks))
        ts, tw = [], []
        for r, p in zip(self.rows, w):
            if r[2] is not None:
                sl[r[2]] += p
            if r[3] is not None and r[2] is not None:
                ts.append(r[3])
                tw.append(p)
        best, on = 0, None
        if sl.sum() > 0:
            M = masks.astype(float)
            both = (M * size) @ M.T
            n = np.diag(both)
            best = int(np.argmax((both / (n[:, None] + n[None] - both)) @ sl))
            o = np.argsort(ts)
            c = np.cumsum(np.array(tw)[o])
            on = np.array(ts)[o][min(np.searchsorted(c, c[-1] / 2), len(o) - 1)]
        harmless = sum(by.get(c, 0) for c in ("none", "mix", "judge"))
        return rank, 1 - harmless, best, on


_W = {}


def tables():
    if not _W:
        tq = stats.t(5).ppf((np.arange(400) + 0.5) / 400) * 0.75 / np.sqrt(5 / 3)
        _W["score"] = score_table(lambda x: ndtr((x[:, None] - tq[None]) / np.hypot(0.25, 0.4)).mean(1))
        q = np.sort((tq[:, None] + 0.25 * stats.norm.ppf((np.arange(7) + 0.5) / 7)[None]).ravel())[::4]
        bad = lambda x: np.where(x < 2.9, 0.95, 0.05)
        _W["rev"] = {b: review_table(q, np.full(len(q), 1 / len(q)), 0.4, bad, b) for b in (0, 0.15, 0.35, 0.8)}
    return _W


def oracle(w, priors=("fair", "prior")):
    """The oracle's ranking, P(real), slice and start of a world, for each prior."""
    # the log in numbers: feature, category, model of every request; leaf = one combination of the three
    T = tables()
    tb = w.tables
    r = tb["requests"]
    start = pd.Timestamp("2026-03-02", tz="UTC")
    sec = lambda s: (pd.DatetimeIndex(s) - start).total_seconds().to_numpy()
    t = sec(r["timestamp"])
    at = (w.alert["fired_at"] - start).total_seconds()
    now = at + DAY
    base = r["model_id"].str.replace(r"-2026.*", "", regex=True)
    names = [sorted(x.unique()) for x in (r["feature_id"], r["category"], base)]
    fi, ci, mi = (
        x.map({v: i for i, v in enumerate(n)}).to_numpy(int)
        for x, n in zip((r["feature_id"], r["category"], base), names)
    )
    F, C, M = map(len, names)
    code = (fi * C + ci) * M + mi
    u, leaf = np.unique(code, return_inverse=True)
    L = len(u)
    lf, lc, lm = u // (C * M), (u // M) % C, u % M
    # slices that can be hit: all, the alert's feature, a model, the feature's categories
    fa = names[0].index(w.alert["feature_id"])
    name = [("all",), ("f", fa)] + [("m", x) for x in range(M)] + [("fc", fa, c) for c in range(C)]
    masks = np.array(
        [np.ones(L, bool), lf == fa] + [lm == x for x in range(M)] + [(lf == fa) & (lc == c) for c in range(C)]
    )
    idx = {n: i for i, n in enumerate(name)}
    # times that a start can have: a grid, and the logged changes
    ch = tb["changes"]
    ct = sec(ch["timestamp"])
    lam = max(len(ch), 1) / (now / DAY - 1)
    lo = at - 8 * DAY
    live = ct[(ct > lo) & (ct <= at)]
    grid = np.arange(lo, at, 3 * H)
    times = np.unique(np.concatenate([grid, live]))
    on_grid = np.isin(times, grid)
    D = int(now // DAY) + 1
    day = np.minimum((t // DAY).astype(int), D - 1)
    metric = w.alert["metric"]
    Q = [0.15, 0.35, 0.8]
    saw = [_saw(change, r, t, tj) for change, tj in zip(ch.to_dict("records"), ct)]
    size = np.bincount(leaf, minlength=L)
    if metric == "mean_quality":
        j = tb["judgements"].dropna(subset="quality_score")
        jid = r.index.get_indexer(j.index)
        k = j["quality_score"].to_numpy(int) - 1
        B = np.concatenate([np.eye(F)[lf], np.eye(C)[lc], np.eye(M)[lm]], 1)
        sd = np.repeat([0.15, 0.6, 0.15], [F, C, M])
        # three fits, one for each size of the day-to-day noise; weighted by their marginal likelihood
        dd = np.arange(D)
        P = np.linspace(9, 20, 23)
        wave = 0.00125 * np.cos(2 * np.pi * (dd[:, None] - dd[None])[..., None] / P).mean(-1)
        off = 4.0 - 0.05 * ((dd % 7) >= 5)
        fits = [
            Fit(T["score"], leaf[jid], day[jid], k, B, sd, np.linalg.inv(wave + (s * s + 1e-6) * np.eye(D)), off)
            for s in (0, 0.03, 0.06)
        ]
        wt = np.array([f.log_ml for f in fits])
        wt = wt - logsumexp(wt)
        # reviews: the chance of `bad` given the score and the mean
        rid = tb["reviews"]
        m0 = fits[int(np.argmax(wt))].m
        pos = pd.Series(np.arange(len(r)), r["request_id"].to_numpy())
        ri = pos.reindex(rid["request_id"]).to_numpy(int)
        sc = j.set_index("request_id")["quality_score"].reindex(rid["request_id"]).to_numpy(int) - 1
        rb = (rid["verdict"] == "real").to_numpy()
        jr = Table.at(m0[leaf[ri], day[ri]])
        prob = lambda tab, q: np.log(np.where(rb, tab[sc, q], 1 - tab[sc, q]))
        r0 = prob(T["rev"][0], jr)
        rev = Extra(
            L,
            leaf[ri],
            t[ri],
            lambda s, on=slice(None): (
                prob(
                    T["rev"][0],
                    np.clip(jr - int(round(float(np.ravel(s)[0]) / STEP)) if np.size(s) else jr, 0, len(MG) - 1),
                )
                - r0
            )[on],
        )
        evs = [
            (Evidence(f, T["score"], masks, times, leaf[jid], day[jid], t[jid], k, Q, rev, (0.75, 1.5, 2.5)), x)
            for f, x in zip(fits, wt)
            if x > np.log(0.05)
        ]
        z = logsumexp([x for _, x in evs])
        mixs = lambda get: logsumexp([get(e) + x - z for e, x in evs], axis=0)
        step = np.array([mixs(lambda e: e.step[s]) for s in Q])
        ramp = np.array([mixs(lambda e: e.ramp[d, s]) for s in Q for d in (0.75, 1.5, 2.5)])
        step, ramp = lme(step, 0), lme(ramp, 0)

        def rows(on):
            return lme(np.array([mixs(lambda e: e.rows(s, on[jid])) + masks @ rev.rows(s, on[ri]) for s in Q]), 0)

        revj = {
            b: np.array(
                [
                    (np.log(np.where(rb, T["rev"][b][sc, jr], 1 - T["rev"][b][sc, jr])) - r0)[t[ri] >= x].sum()
                    for x in times
                ]
            )
            for b in Q
        }
        jud = lme(
            np.array([mixs(lambda e: e.step[b][0] - (e.masks @ e.extra.steps(b, times))[0]) + revj[b] for b in Q]), 0
        )
        # the mix: from some time on a quarter to a half of the questions are of the hard topic
        hard = ci == 0
        nb = t < lo
        p0 = np.clip(hard[nb].mean(), 1e-3, 0.999)
        mixl = []
        for x in times:
            a = t >= x
            n, kk = a.sum(), hard[a].sum()
            g = np.linspace(0.25, 0.5, 9)
            p1 = p0 + (1 - p0) * g
            mixl.append(lme(kk * np.log(p1 / p0) + (n - kk) * np.log((1 - p1) / (1 - p0))))
        mixl = np.array(mixl)
    else:
        if metric.startswith("avg_cost"):
            x0 = np.log(r["cost_usd"].to_numpy() / 0.002) / 0.6
            likelihood = lambda s, on=slice(None): (
                stats.norm.logpdf(x0[on] - np.log1p(s) / 0.6) - stats.norm.logpdf(x0[on])
            )
        elif metric.startswith("lat"):
            x0 = np.log(r["latency_ms"].to_numpy() / 1200) / 0.5
            likelihood = lambda s, on=slice(None): (
                stats.t.logpdf(x0[on] - np.log1p(s) / 0.5, 4) - stats.t.logpdf(x0[on], 4)
            )
        else:
            x0 = r["error"].notna().to_numpy()
            likelihood = lambda s, on=slice(None): np.where(
                x0[on], np.log((0.01 + 0.15 * s) / 0.01), np.log((0.99 - 0.15 * s) / 0.99)
            )
        ex = Extra(L, leaf, t, likelihood)
        step = lme(np.array([masks @ ex.steps(s, times) for s in Q]), 0)
    dep = (("f", fa), 0.5), *((("fc", fa, c), 0.5 / C) for c in range(C))
    # priors times evidence, cause by cause
    log_start = np.where(on_grid, -np.log(on_grid.sum()), NEG * 5)
    recorded = []  # (id, time, density among the decoys, [(prior of kind and scope as a culprit, slice, log BF)])
    for i, row in enumerate(ch.to_dict("records")):
        kd, f = row["kind"], None if pd.isna(row["feature_id"]) else names[0].index(row["feature_id"])
        if ct[i] > at or (f is not None and f != fa):
            continue
        si = int(np.argmin(np.abs(times - ct[i])))
        pf = 0.1 if f is None else 0.9
        q = 0.2 * (pf if kd != "config" else 1) / (F if f is not None else 1)
        if kd == "model_version":
            q = 0.2 * 0.5 / (1 if pd.isna(row["model_id"]) else M)
        if metric != "mean_quality":
            if ct[i] <= lo:
                continue
            pk = 0.5 if kd == "deployment" else 0.13
            parts = [(pk * pf / F, ("f", fa), step[idx["f", fa], si]), (pk * pf / F * 0.2, ("all",), step[0, si])]
        elif kd == "model_version":
            ln = rows(saw[i])
            if pd.isna(row["model_id"]):
                parts = [(1 / 9 + (1 / 18 if M == 1 else 0), ("all",), ln[0])]
            else:
                m = names[2].index(row["model_id"].split("-2026")[0])
                parts = [(1 / 9 / M if M > 1 else 1 / 18, ("m", m), ln[idx["m", m]])]
        elif kd == "prompt":
            ln = rows(saw[i])
            own = range(C) if pd.isna(row["category"]) else [names[1].index(row["category"])]
            parts = [(2 / 9 * pf / F / len(own), ("fc", fa, c), ln[idx["fc", fa, c]]) for c in own]
        elif kd == "rag_index":
            parts = [(1 / 9 * pf / F, ("f", fa), ramp[idx["f", fa], si])]
        elif f is not None:
            parts = [(1 / 9 * pf / F * x, s, step[idx[s], si]) for s, x in dep]
        else:
            parts = [(1 / 18 * 0.2, ("all",), step[0, si])]
        recorded.append((row["change_id"], ct[i], q, parts))
    out = {}
    for prior in priors:
        b = Belief()
        for cid, tj, q, parts in recorded:
            if prior == "fair":
                weight = np.log(1 / 8) + (0 if tj > lo else NEG / 6) - np.log(lam * q)
            else:
                weight = (
                    np.log(0.21 / len(recorded)) - np.log(sum(p[0] for p in parts)) + (0 if tj > lo else np.log(0.15))
                )
            for pw, sl, bf in parts:
                b.add(cid, weight + np.log(pw) + bf, idx[sl], tj)
        if metric != "mean_quality":
            silent = np.log(0.1 if prior == "fair" else 0.05) + step[[1]] + log_start[None]
            b.add_grid("silent", silent, [idx["f", fa]], times)
            b.add("none", -1.0 if prior == "fair" else np.log(0.7))
        else:
            kinds = ("none", "mix", "judge", "silent")
            known = dict.fromkeys(kinds, 1 / 9) if prior == "fair" else dict(zip(kinds, (0.63, 0.07, 0.04, 0.05)))
            sl = [idx["m", x] for x in range(M)] if M > 1 else [0]
            b.add_grid("silent", np.log(known["silent"] / len(sl)) + step[sl] + log_start[None], sl, times)
            b.add("none", np.log(known["none"]))
            b.add("judge", np.log(known["judge"]) + logsumexp(jud + log_start))
            b.add("mix", np.log(known["mix"]) + logsumexp(mixl + log_start))
        rank, p_real, best, onset = b.answer(masks, size)
        at_ = None if onset is None else start + pd.Timedelta(seconds=float(onset))
        out[prior] = Answer(rank, p_real, name[best], masks[best][leaf], at_)
    return out


def _saw(change: dict, requests: pd.DataFrame, t: np.ndarray, logged: float) -> np.ndarray:
    """The rows that saw a prompt or a model version: those in its scope since its version was first seen there."""
    column = {"prompt": "prompt_version", "model_version": "model_id"}.get(change["kind"])
    if column is None:
        return t >= logged
    reached = np.ones(len(t), bool)
    for name in ("feature_id", "category"):
        reached &= (requests[name] == change[name]).to_numpy() if pd.notna(change[name]) else True
    if pd.notna(change["model_id"]):
        reached &= requests["model_id"].str.startswith(change["model_id"].split("-2026")[0]).to_numpy()
    first = pd.Series(t[reached]).groupby(requests.loc[reached, column].to_numpy()).min()
    near = first.iloc[np.argmin(np.abs(first.to_numpy() - logged))] if len(first) else logged
    return reached & (t >= (near if abs(near - logged) < DAY else logged))


@dataclass(frozen=True)
class Answer:
    """What the oracle says of one world: the causes with their probabilities, P(real), the slice's rows, the start."""

    ranking: list[tuple[str, float]]
    p_real: float
    slice: tuple
    mask: np.ndarray
    onset: pd.Timestamp | None

    @property
    def candidates(self) -> list[str]:
        """The smallest set of causes that holds 0.9."""
        held = np.cumsum([p for _, p in self.ranking])
        return [cause for cause, _ in self.ranking][: int(np.searchsorted(held, 0.9)) + 1]

    @property
    def named(self) -> str | None:
        """The cause that is named: by the rule of `isolate`."""
        (first, p), held = self.ranking[0], self.candidates
        unexplained = first == "silent" and p >= 0.5 and not set(held) - {"silent", "none", "mix"}
        sure = p >= 0.8 or len(held) == 1 or unexplained
        return first if sure and first not in ("none", "mix") else None
