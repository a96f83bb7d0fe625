"""The model of what varies, checked without ranks: arrays cover, findings are reduced, values say what for."""
