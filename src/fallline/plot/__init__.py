"""Pictures of descents (matplotlib, extra ``plots``).

Loss curves, schedules, learning-rate sweeps; paths on contours and on a surface, basins of attraction; and where a
gradient is wrong. Each function draws into an `Axes` and returns it. Colours, fonts and sizes are the reader's
rcParams; line styles and markers are added to the colours, and lines are named at their ends, so that nothing is told
by colour alone. `STYLE` is the style of the demonstration's own pictures.
"""

from fallline.plot.curves import losses, schedules, sweep
from fallline.plot.matrices import gradient_errors
from fallline.plot.style import STYLE
from fallline.plot.surfaces import basins, descent, surface

__all__ = ["STYLE", "basins", "descent", "gradient_errors", "losses", "schedules", "surface", "sweep"]
