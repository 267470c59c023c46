"""How the patient is seen: planes, arrangements, fusion, windowing, and their keys."""
