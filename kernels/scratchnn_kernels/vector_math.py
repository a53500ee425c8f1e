"""exp, tanh, log, erf and their kin for float32 and float64, as polynomials that vectorise; no table, no branch.

    e^x         2^n e^r,  n = round(x / ln 2),  |r| <= ln 2 / 2,  e^r = 1 + r + r^2 P(r)
    log(1+e)    2 atanh(f / (2 + f)), an odd series in s = f / (2 + f), with 1 + e = (1 + f) or 2 (1 + f), |s| < 0.172
    erfc        e^(-a^2 / 2) 2 t P(1 - 2 k t),  a = sqrt(2) z,  t = 1 / (a + k): one polynomial for all z >= 0

All are good to a few units in the last place over the whole range, into the denormal numbers; NaN stays NaN. The
coefficients interpolate the functions at Chebyshev nodes, computed with 40 digits.
Import this module only when Numba is wanted: it imports it.
"""

from scratchnn_kernels.vector_bits import Number, compiled, constant, fma, polynomial, power_of_two, with_sign

LOG2_E = 1.4426950408889634
# ln 2 in two parts, the first with so few bits that n times it is exact.
LN2_SINGLE, LN2_DOUBLE = (0.693359375, -2.12194440054690583e-4), (6.93147180369123816e-1, 1.90821492927058770e-10)
LN2 = 0.6931471805599453
RESTS = (2.0**64, 2.0**512)
LOWEST = (-104.0, -746.0)  # e^x is 0 there
INV_ROOT_2PI = 0.3989422804014327
ROOT_2 = 1.4142135623730951
SHIFTS = (1.5 * 2.0**23, 1.5 * 2.0**52)  # adding one rounds to an integer and leaves it in the lowest bits
EXP_SINGLE = (0.0013926203362, 0.0083631948824, 0.041666554498, 0.16666576895, 0.5)
EXP_DOUBLE = (
    1 / 6227020800, 1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040, 1 / 720, 1 / 120,
    1 / 24, 1 / 6, 0.5,
)  # fmt: skip
ATANH_SINGLE = (0.2333096405, 0.2855080255, 0.40000122, 0.6666666655)
ATANH_DOUBLE = (
    0.130872361967068337, 0.132687147923428851, 0.153862418819388256, 0.181817956000607873, 0.22222222392089008,
    0.285714285708019569, 0.400000000000008797, 0.666666666666666665,
)  # fmt: skip
ERF_SINGLE = (-0.000769421209351743501, 0.00520039558219973541, -0.0268631395001145218, 0.1128377398554103,
              -0.376126385249088582, 1.12837916708237848)  # fmt: skip
ERF_DOUBLE = (
    1.32137783997129545e-8, -1.6273067498640656e-7, 1.64590307389022048e-6, -0.0000149255864603697815,
    0.000120553321295068382, -0.000854832701614194013, 0.00522397762540308483, -0.0268661706451300307,
    0.112837916709551238, -0.376126389031837525, 1.12837916709551257,
)  # fmt: skip
TAIL_SINGLE = (-0.0001590002741, -0.0003145891754, 0.00068405651, 0.00252684632, -0.001599698015, -0.01638708928,
               0.009235507824, 0.1319870717, -0.433691986, 0.7066566583)  # fmt: skip
TAIL_DOUBLE = (
    -9.65342542022850467e-10, 7.26954547902668946e-11, 1.39240239935017101e-8, 1.45785933470364597e-8,
    -7.63808205349045035e-8, -1.54263205367710739e-7, 2.63682485764076251e-7, 1.01980485181351727e-6,
    -6.25132104047868019e-7, -5.91889273176323645e-6, 7.15005595921609866e-7, 0.0000351441811577609727,
    -1.90786653166135743e-6, -0.000231094818319376211, 0.000133344254019049116, 0.0016308184418903596,
    -0.00347969236224253334, -0.00754018896559305902, 0.0603965748906994641, -0.186521857959694163,
    0.387137400742218879, -0.607896641971891759, 0.75528513041575148,
)  # fmt: skip
# For r = -s / 2, and for a value that was made larger by RESTS: powers of two, which round nothing.
EXP_HALVED_SINGLE = tuple(c * (-0.5) ** (6 - i) for i, c in enumerate(EXP_SINGLE))
EXP_HALVED_DOUBLE = tuple(c * (-0.5) ** (13 - i) for i, c in enumerate(EXP_DOUBLE))
TAIL_SMALL_SINGLE = tuple(c / RESTS[0] for c in TAIL_SINGLE)
TAIL_SMALL_DOUBLE = tuple(c / RESTS[1] for c in TAIL_DOUBLE)


@compiled
def _reduced(x: Number, n: Number) -> Number:
    """r, where x = n ln 2 + r."""
    r = fma(n, constant(x, -LN2_SINGLE[0], -LN2_DOUBLE[0]), x)
    return fma(n, constant(x, -LN2_SINGLE[1], -LN2_DOUBLE[1]), r)


@compiled
def _power(r: Number, shifted: Number) -> Number:
    """e^r 2^n for n up to 60. The smallest results are denormal, and 2^n with them: so a larger power comes first."""
    y = fma(r, fma(r, polynomial(r, EXP_SINGLE, EXP_DOUBLE), 1.0), 1.0)
    rest = constant(r, *RESTS)
    return y * power_of_two(shifted, rest) * (constant(r, 1.0, 1.0) / rest)


@compiled
def exp_negative(x: Number) -> Number:
    """e^x for x <= 0."""
    low, shift = constant(x, *LOWEST), constant(x, *SHIFTS)
    x = low if x < low else x  # "<" is False for a NaN, which stays
    shifted = fma(x, LOG2_E, shift)
    return _power(_reduced(x, shifted - shift), shifted)


@compiled
def _large_bell(a: Number) -> Number:
    """e^(-a^2 / 2) times RESTS, see `bell`: no denormal number."""
    shift = constant(a, *SHIFTS)
    shifted = fma(a * a, -0.5 * LOG2_E, shift)
    n = shifted - shift
    # s = a^2 + 2 n ln 2 is -2 r. n ln 2 is exact, so the square loses nothing: its rounding would cost a^2 / 4 units.
    s = fma(a, a, n * constant(a, 2 * LN2_SINGLE[0], 2 * LN2_DOUBLE[0]))
    s = fma(n, constant(a, 2 * LN2_SINGLE[1], 2 * LN2_DOUBLE[1]), s)
    y = fma(s, fma(s, polynomial(s, EXP_HALVED_SINGLE, EXP_HALVED_DOUBLE), -0.5), 1.0)
    return y * power_of_two(shifted, constant(a, *RESTS))


@compiled
def bell(a: Number) -> Number:
    """e^(-a^2 / 2) for |a| up to 14.42 (float32) or 38.6 (float64), where it is 0."""
    return _large_bell(a) * (constant(a, 1.0, 1.0) / constant(a, *RESTS))


@compiled
def expm1_negative(x: Number) -> Number:
    """e^x - 1 for x <= 0, without cancellation around 0, and -0 for -0."""
    low = constant(x, -80.0, -80.0)
    x = low if x < low else x
    shift, one = constant(x, *SHIFTS), constant(x, 1.0, 1.0)
    shifted = fma(x, LOG2_E, shift)
    r = _reduced(x, shifted - shift)
    scale = power_of_two(shifted, one)
    return with_sign(fma(fma(r * r, polynomial(r, EXP_SINGLE, EXP_DOUBLE), r), scale, scale - one), x)


@compiled
def tanh(x: Number) -> Number:
    """tanh x, by m = e^(-2|x|) - 1: tanh |x| = -m / (2 + m)."""
    m = expm1_negative(abs(x) * constant(x, -2.0, -2.0))
    return with_sign(m / (m + constant(x, 2.0, 2.0)), x)


@compiled
def sigmoid(x: Number) -> Number:
    """1 / (1 + e^-x), with full relative precision in both tails."""
    one = constant(x, 1.0, 1.0)
    e = exp_negative(-abs(x))  # never overflows
    return (one if x > constant(x, 0.0, 0.0) else e) / (one + e)


@compiled
def softplus(x: Number) -> Number:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    zero = constant(x, 0.0, 0.0)
    return (x if x > zero else zero) + log1p_of_fraction(exp_negative(-abs(x)))


@compiled
def log1p_of_fraction(e: Number) -> Number:
    """log(1 + e) for e from 0 to 1."""
    large = e > constant(e, 0.41421356, 0.41421356)
    f = fma(e, 0.5, -0.5) if large else e  # 1 + e = 2 (1 + f)
    s = f / (f + constant(e, 2.0, 2.0))
    z = s * s
    # 2 s = f - s f: so the small part is what is rounded
    y = f - s * (f - z * polynomial(z, ATANH_SINGLE, ATANH_DOUBLE))
    return y + constant(e, LN2, LN2) if large else y


@compiled
def half_erfc(a: Number, density: Number) -> Number:
    """erfc(a / sqrt 2) / 2 for a >= 0, given e^(-a^2 / 2)."""
    t = constant(a, 1.0, 1.0) / (a + constant(a, 2.5, 4.0))
    return density * t * polynomial(fma(t, constant(t, -5.0, -8.0), 1.0), TAIL_SINGLE, TAIL_DOUBLE)


@compiled
def bounded_magnitude(x: Number) -> Number:
    """|x|, or a bound above which the normal density is 0: the square of more could be infinite."""
    a, most = abs(x), constant(x, 14.42, 38.6)
    return most if a > most else a


@compiled
def gelu(x: Number) -> Number:
    """x Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, with full relative precision in the left tail."""
    a = bounded_magnitude(x)
    q = a / (a + constant(a, 2.5, 4.0))  # k t = 1 - q, and a t = q: so the tail's factors cost nothing
    tail = polynomial(fma(q, 2.0, -1.0), TAIL_SMALL_SINGLE, TAIL_SMALL_DOUBLE)
    zero = constant(x, 0.0, 0.0)
    return fma(-(_large_bell(a) * q), tail, x if x >= zero else x * zero)  # x * 0: a NaN for -infinity


@compiled
def gelu_slope(x: Number) -> Number:
    """Phi(x) + x phi(x), which share the exponential."""
    a = bounded_magnitude(x)
    density = bell(a)
    tail = half_erfc(a, density)
    cdf = tail if x < constant(x, 0.0, 0.0) else constant(x, 1.0, 1.0) - tail
    return cdf + x * density * constant(x, INV_ROOT_2PI, INV_ROOT_2PI)


@compiled
def erf(x: Number) -> Number:
    """The error function."""
    z = abs(x)
    near = z * polynomial(z * z, ERF_SINGLE, ERF_DOUBLE)
    a = bounded_magnitude(x * constant(x, ROOT_2, ROOT_2))
    far = fma(half_erfc(a, bell(a)), -2.0, 1.0)
    return with_sign(near if z < constant(x, 0.5, 0.5) else far, x)
