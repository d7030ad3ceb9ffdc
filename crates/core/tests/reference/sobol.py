"""Writes src/joe_kuo.txt (direction numbers) and tests/reference/sobol.json (points to compare with).

Needs scipy 1.17, which carries the table of Joe and Kuo. Run: python tests/reference/sobol.py, from crates/core.
"""
import json
import pathlib

import numpy
import scipy
from scipy.stats import qmc

DIMENSIONS = 1024
LICENCE = """\
Direction numbers of Joe and Kuo (new-joe-kuo-6), the first {n} dimensions: S. Joe and F. Y. Kuo, "Constructing
Sobol sequences with better two-dimensional projections", SIAM J. Sci. Comput. 30, 2635-2654 (2008).

Copyright (c) 2008, Frances Y. Kuo and Stephen Joe. All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:

  * Redistributions of source code must retain the above copyright notice, this list of conditions and the
    following disclaimer.

  * Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the
    following disclaimer in the documentation and/or other materials provided with the distribution.

  * Neither the names of the copyright holders nor the names of the University of New South Wales and the
    University of Waikato and its contributors may be used to endorse or promote products derived from this
    software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT
LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT
SHALL THE COPYRIGHT HOLDERS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR
BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
(INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE
POSSIBILITY OF SUCH DAMAGE.

One line per dimension: the primitive polynomial over GF(2) as a number, highest power first, then m_1 .. m_s.
"""

table = numpy.load(pathlib.Path(scipy.__file__).parent / "stats" / "_sobol_direction_numbers.npz")
lines = [("# " + line).rstrip() for line in LICENCE.format(n=DIMENSIONS).splitlines()]
for polynomial, initial in zip(table["poly"][:DIMENSIONS], table["vinit"][:DIMENSIONS]):
    degree = max(int(polynomial).bit_length() - 1, 1)
    lines.append(" ".join(str(n) for n in [int(polynomial), *initial[:degree]]))
pathlib.Path("src/joe_kuo.txt").write_text("\n".join(lines) + "\n")

points = qmc.Sobol(DIMENSIONS, scramble=False, bits=32).random(1024)
dimensions = [0, 1, 2, 3, 4, 10, 50, 255, 256, 500, 1000, 1023]
indices = [0, 1, 2, 3, 4, 5, 7, 8, 100, 511, 1000, 1023]
rows = [[float(points[i, d] * 2**32) for d in dimensions] for i in indices]
reference = {"scipy": scipy.__version__, "dimensions": dimensions, "indices": indices, "points": rows}
pathlib.Path("tests/reference/sobol.json").write_text(json.dumps(reference) + "\n")
