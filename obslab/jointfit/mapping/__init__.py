"""What takes pixels to the tangent plane: polynomials shared between images, and small terms beside them.

layout (which polynomials an image's mapping is made of) ; terms -> refraction, templates -> kinds
"""
