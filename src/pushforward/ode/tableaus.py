"""Explicit Runge-Kutta methods as data."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from pushforward.errors import InputError


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method: `k_i = f(t + c_i h, y + h sum_j a_ij k_j)`, `y1 = y + h sum_i b_i k_i`.

    Arguments:
        order: of the method; a test measures it.
        a: a row for each stage, the first empty; the nodes `c_i` are the rows' sums.
        b: weights of the solution.
        error: weights of the error estimate, the solution's less the embedded method's; None (default) for a method
            without one, which takes fixed steps only.
        dense: the polynomials between the step's ends, a row for each stage: `b_i(u) = sum_m dense[i][m] u^(m + 1)`
            for u in [0, 1], so that the rows' sums are `b`. Default None: the cubic of states and slopes at both ends.

    Raises `InputError` where these are not an explicit method: rows that do not grow by one, weights that are not one
    per stage or do not sum to 1 (those of the error: to 0), polynomials that do not end at `b`.

    ```python
    >>> from pushforward.ode import METHODS
    >>> METHODS["dopri5"].order, METHODS["dopri5"].reuses_last, METHODS["rk4"].c
    (5, True, (0.0, 0.5, 0.5, 1.0))

    ```
    """

    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] | None = None
    dense: tuple[tuple[float, ...], ...] | None = None
    implicit: ClassVar[bool] = False

    def __post_init__(self) -> None:
        # A tableau is a static argument of compiled programs, so it is made of tuples whatever was given.
        if not isinstance(self.a, Iterable):
            raise InputError(f"a={self.a!r}: a row of numbers for each stage was expected")
        object.__setattr__(self, "a", tuple(_numbers("a", row) for row in self.a))
        object.__setattr__(self, "b", _numbers("b", self.b))
        stages = len(self.a)
        if [len(row) for row in self.a] != list(range(stages)):
            raise InputError(
                f"a has rows of {[len(row) for row in self.a]} numbers: an explicit method's have 0, 1, 2, ..."
            )
        _check_weights("b", self.b, stages, 1)
        if self.error is not None:
            object.__setattr__(self, "error", _numbers("error", self.error))
            _check_weights("error", self.error, stages, 0)
        if self.dense is not None:
            object.__setattr__(self, "dense", tuple(_numbers("dense", row) for row in self.dense))
            ends = [math.fsum(row) for row in self.dense]
            if len({len(row) for row in self.dense}) > 1 or len(ends) != stages:
                raise InputError("dense: a row of as many coefficients for each stage was expected")
            off = [
                i
                for i, (end, b) in enumerate(zip(ends, self.b, strict=True))
                if abs(end - b) > SUMS
            ]
            if off:
                i = off[0]
                raise InputError(
                    f"dense[{i}] sums to {ends[i]:.12g}: b[{i}], {self.b[i]:.12g}, was expected"
                )

    @property
    def c(self) -> tuple[float, ...]:
        """The nodes: where in the step each stage is evaluated."""
        return tuple(round(float(sum(row)), 15) for row in self.a)

    @property
    def falls(self) -> int:
        """The order in which the error estimate falls with the step."""
        return self.order

    @property
    def reuses_last(self) -> bool:
        """Whether the last stage is the next step's first ("first same as last")."""
        return self.b[-1] == 0.0 and self.a[-1] == self.b[:-1]

    def interpolating(self) -> "Tableau":
        """The method with its polynomials: its own ones or cubics. A method that does not reuse its last stage gets one
        that does (one call of the field more in a solve)."""
        if self.dense is not None:
            return self
        if not self.reuses_last:
            error = None if self.error is None else (*self.error, 0.0)
            longer = Tableau(self.order, (*self.a, self.b), (*self.b, 0.0), error)
            return longer.interpolating()
        # y0 + (3 u^2 - 2 u^3) (y1 - y0) + h (u - 2 u^2 + u^3) k_1 + h (u^3 - u^2) k_s
        rows = [[0.0, 3 * b, -2 * b] for b in self.b]
        rows[0] = [rows[0][0] + 1.0, rows[0][1] - 2.0, rows[0][2] + 1.0]
        rows[-1] = [rows[-1][0], rows[-1][1] - 1.0, rows[-1][2] + 1.0]
        return Tableau(self.order, self.a, self.b, self.error, tuple(map(tuple, rows)))


def _numbers(name: str, row: Any) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in row)
    except (TypeError, ValueError):
        raise InputError(f"{name}: {row!r} is not a row of numbers") from None


def _check_weights(name: str, weights: tuple[float, ...], stages: int, total: int) -> None:
    if len(weights) != stages:
        raise InputError(
            f"{name} has {len(weights)} weights: {stages} were expected, one per stage"
        )
    if not abs(math.fsum(weights) - total) < SUMS:
        raise InputError(f"{name} sums to {math.fsum(weights):.12g}: {total} was expected")


SUMS = 1e-9
"""By how much the sums of published coefficients may be off."""


# fmt: off
EXPLICIT: dict[str, Tableau] = {
    "euler": Tableau(order=1, a=((),), b=(1.0,), dense=((1.0,),)),
    "midpoint": Tableau(order=2, a=((), (0.5,)), b=(0.0, 1.0), dense=((1.0, -1.0), (0.0, 1.0))),
    "heun": Tableau(
        order=2, a=((), (1.0,)), b=(0.5, 0.5), error=(-0.5, 0.5), dense=((1.0, -0.5), (0.0, 0.5))
    ),
    "rk4": Tableau(
        order=4,
        a=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
        b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
        dense=((1.0, -3 / 2, 2 / 3), (0.0, 1.0, -2 / 3), (0.0, 1.0, -2 / 3), (0.0, -1 / 2, 2 / 3)),
    ),
    "bosh3": Tableau(
        order=3,
        a=((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
        b=(2 / 9, 1 / 3, 4 / 9, 0.0),
        error=(-0.06944444444444448, 0.08333333333333331, 1 / 9, -1 / 8),
    ),
    "dopri5": Tableau(
        order=5,
        a=(
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
        error=(0.0008217592592592582, 0.0, -0.002835180193670739, 0.024652777777777746,
           -0.03390919811320753, 0.02793650793650794, -1 / 60),
        dense=(
            (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
            (0.0, 0.0, 0.0, 0.0),
            (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
            (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
            (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
            (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
            (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
        ),
    ),
    "tsit5": Tableau(
        order=5,
        a=(
            (),
            (161 / 1000,),
            (-0.008480655492356989, 0.335480655492357),
            (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
            (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
            (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401,
             -0.028269050394068383),
            (0.09646076681806523, 1 / 100, 0.4798896504144996, 1.379008574103742,
             -3.290069515436081, 2.324710524099774),
        ),
        b=(0.09646076681806523, 1 / 100, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
           2.324710524099774, 0.0),
        error=(0.0017800110522257773, 0.0008164344596567463, -0.007880878010261994,
           0.1447110071732629, -0.5823571654525552, 0.45808210592918686, -1 / 66),
        dense=(
            (0.9999999999999999, -2.763706197274826, 2.9132554618219126, -1.0530884977290216),
            (0.0, 0.13169999999999998, -0.2234, 0.1017),
            (0.0, 3.930296236894751, -5.941033872131505, 2.490627285651253),
            (0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902),
            (0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928),
            (0.0, -27.896526289197286, 65.09189467479368, -34.87065786149661),
            (0.0, 1.5, -4.0, 2.5),
        ),
    ),
    "dopri8": Tableau(
        order=8,
        a=(
            (),
            (1 / 18,),
            (1 / 48, 1 / 16),
            (1 / 32, 0.0, 3 / 32),
            (5 / 16, 0.0, -75 / 64, 75 / 64),
            (3 / 80, 0.0, 0.0, 3 / 16, 3 / 20),
            (0.04791013711111111, 0.0, 0.0, 0.11224871277777777, -0.02550567377777778,
             0.012846823888888888),
            (0.01691798978729228, 0.0, 0.0, 0.3878482784860432, 0.03597736985150033,
             0.19697021421566607, -0.17271385234050185),
            (0.0690957533591923, 0.0, 0.0, -0.6342479767288541, -0.16119757522460407,
             0.13865030945882525, 0.9409286140357562, 0.21163632648194397),
            (0.1835569968390454, 0.0, 0.0, -2.4687680843155926, -0.29128688781630047,
             -0.026473020233117376, 2.8478387641928005, 0.2813873314698498, 0.12374489986331466),
            (-1.2154248173958881, 0.0, 0.0, 16.672608665945774, 0.915741828416818,
             -6.056605804357471, -16.00357359415618, 14.849303086297663, -13.371575735289849,
             5.134182648179638),
            (0.25886091643826425, 0.0, 0.0, -4.774485785489205, -0.4350930137770325,
             -3.0494833320722416, 5.5779200399360995, 6.15583158986104, -5.062104586736939,
             2.193926173180679, 0.13462799865933495),
            (0.8224275996265075, 0.0, 0.0, -11.658673257277664, -0.7576221166909362,
             0.7139735881595816, 12.075774986890057, -2.127659113920403, 1.9901662070489554,
             -0.23428647154404028, 0.17589857770794226, 0.0),
            (0.041747491141530244, 0.0, 0.0, 0.0, 0.0, -0.05545232861123931, 0.2393128072011801,
             0.703510669403443, -0.7597596138144609, 0.6605630309222863, 0.15818748251012332,
             -0.2381095387528628, 1 / 4),
        ),
        b=(0.041747491141530244, 0.0, 0.0, 0.0, 0.0, -0.05545232861123931, 0.2393128072011801,
           0.703510669403443, -0.7597596138144609, 0.6605630309222863, 0.15818748251012332,
           -0.2381095387528628, 1 / 4, 0.0),
        error=(0.012194277465176744, 0.0, 0.0, 0.0, 0.0, 0.7731539478765578, -0.07192809284993823,
           -1.763834521196444, 1.787182038027448, -0.7829855527544889, 0.07877188662899604,
           -0.28255398319730723, 1 / 4, 0.0),
        dense=(
            (1.0, -6.6910181737837595, 19.999006933368396,
             -30.061056828966645, 22.139650499809406, -6.34483493928604),
            (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
            (0.0, -7.6142658045872675, 52.227353279294555,
             -121.49996277313346, 116.44221495503422, -39.61079198522025),
            (0.0, 10.728139263042886, -46.89191641810936,
             83.17210046398478, -67.14513188259572, 20.376121380879145),
            (0.0, 0.5526637063753649, -0.18908932250105956,
             9.572450755599366, -16.56722435274965, 7.334709882679536),
            (0.0, 4.218656262566515, -35.70759759462221,
             87.84060576772056, -89.9916014847245, 32.88017743524592),
            (0.0, -0.6627209125361597, 6.273644808324035,
             -17.415210777076297, 22.623748964853284, -10.158899052642676),
            (0.0, -1.2636789001135462, 10.316088127245076,
             -28.590328951479098, 32.23623401673554, -12.540126809878256),
            (0.0, 5.410603789859042, -34.76507698666118,
             81.66309505843414, -82.10203154883598, 29.555300148451604),
            (0.0, -7.032137906794574, 47.745797107822554,
             -114.93752913770093, 116.26621857911195, -41.79234864243906),
            (0.0, 2.3537586759714983, -19.008209934160803,
             50.255836422617605, -53.90207774663854, 20.300692582210083),
        ),
    ),
}
# fmt: on
"""Explicit methods. Bosh3: Bogacki & Shampine 1989; Dopri5: Dormand & Prince 1980; Tsit5: Tsitouras 2011; Dopri8:
Prince & Dormand 1981 (8(7)13M). Between a step's ends: Dopri5 of order 4 (Shampine 1986), Tsit5 of order 4
(its source), Dopri8 of order 5 (Bogacki & Shampine 1990), RK4 of order 3 (Zennaro 1986), the cubic for Bosh3, and of
their own order the others: the field is not called for any of them."""
