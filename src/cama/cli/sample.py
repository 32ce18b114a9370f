"""A text to compare engines on: prose, other scripts, numbers and code."""

SAMPLE = """\
The caravan left the well before sunrise, when the sand was still cool enough to walk on barefoot.
Nobody spoke much. The guide counted the animals twice, as he did every morning, and tied the
youngest one to its mother. "If we keep this pace," he said, "we shall see the hills on Thursday."
By noon the wind had turned, and the tracks behind them were gone as if no one had ever passed.

A language model reads text as a row of tokens, and for each place it says how likely every token
of its vocabulary is to come next. Two programs that compute the same model should say the same.
They seldom do to the last digit: sums are taken in another order, and numbers are rounded to fewer
bits on the way. What matters is whether the answers a reader gets would differ.

def mean(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values) if values else 0.0

print(mean([1, 2, 3.5]))  # 2.1666666666666665

Die Karawane zog weiter, über Dünen und trockene Flussbetten, bis zum Abend.
La caravane s'arrêta près d'un vieux puits où poussaient trois palmiers.
Караван шёл всю ночь, ориентируясь по звёздам.
隊商は夜明け前に井戸を出発した。沙漠里没有路，只有风。

| day | distance | water |
|-----|---------:|------:|
| 1   |  31.5 km |  40 l |
| 2   |  28.0 km |  36 l |
| 3   |   7.25 km |  9 l |

In 1826 an explorer noted prices in Timbuktu: 12 measures of millet for one bar of salt. How many
bars buy 300 measures? 300 / 12 = 25, so twenty-five bars, or about 750 kilograms at thirty each.

Dear Amina, we arrived safely and the camels are well. The small one has learned to open doors,
which nobody taught it. Please send ink, needles, and news of the harvest. Yours, as ever, Idris.
"""
